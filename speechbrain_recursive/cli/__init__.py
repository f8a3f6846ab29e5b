"""One module per command; its ``add(commands)`` adds the command to argparse's subparsers."""
