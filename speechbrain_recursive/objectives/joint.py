"""A weighted sum of objectives."""

from speechbrain_recursive.errors import UserError


class Joint:
    """Adds up what several objectives return, each scalar under its name with its weight.

    In YAML, with the weights of the Depth paper::

        objective: !new:speechbrain_recursive.objectives.joint.Joint
            weights: {ctc: 0.3, seq2seq: 0.7}
            objectives:
                - !new:speechbrain_recursive.objectives.ctc.CTC
                - !new:speechbrain_recursive.objectives.seq2seq.Seq2Seq
                    label_smoothing: 0.1

    Arguments
    ---------
    objectives : list of callable
        Each `(outputs, batch) -> {name: scalar}`. One that reads `outputs.exits` has a method `exits`
        from a schedule to the steps that it wants there.
    weights : dict
        Name -> weight. A part of weight 0 is computed and reported, but not added.

    Example
    -------
    >>> joint = Joint([lambda outputs, batch: {"a": 2.0, "b": 3.0}], {"a": 1.0, "b": 0.5})
    >>> joint(None, None)
    (3.5, {'a': 2.0, 'b': 3.0})
    """

    def __init__(self, objectives, weights):
        self.objectives = objectives
        self.weights = weights

    def exits(self, schedule):
        """Steps after which an objective wants the model's log-posteriors.

        Arguments
        ---------
        schedule : Schedule

        Returns
        -------
        set of int
        """
        wanted = [some.exits(schedule) for some in self.objectives if hasattr(some, "exits")]
        return set().union(*wanted)

    def __call__(self, outputs, batch):
        """Compute all parts and their weighted sum.

        Arguments
        ---------
        outputs : Outputs
            What the model returned.
        batch : PaddedBatch
            The targets.

        Returns
        -------
        total : torch.Tensor
            A scalar with gradient.
        parts : dict
            Name -> scalar, before weighting.

        Raises
        ------
        UserError
            If two objectives use one name, or if names and weights do not match.
        """
        parts = {}
        for objective in self.objectives:
            for name, value in objective(outputs, batch).items():
                if name in parts:
                    raise UserError(f"objectives: two of them are called {name}")
                parts[name] = value
        if parts.keys() != self.weights.keys():
            raise UserError(
                f"weights: given for {', '.join(sorted(self.weights)) or 'nothing'}, "
                f"but the objectives are {', '.join(sorted(parts)) or 'none'}"
            )
        total = sum(weight * parts[name] for name, weight in self.weights.items() if weight)
        return total, parts
