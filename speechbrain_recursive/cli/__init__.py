"""The commands that are not training, a module each: ``add(commands)`` adds its parsers."""
