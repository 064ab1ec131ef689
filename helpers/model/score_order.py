"""Which rows of a pair list and sorted set can give back."""


class ScoreOrder:
    """Tells which rows list and sorted set could not be put together again.

    They are in step when sorted by (moment, tie) and by (score, tie). Where a double no longer holds the
    moment exactly, two moments may share a score; then ties decide, and a row whose tie is lower than that of
    an earlier moment with the same score would change places. Ask for each row in the order of the list.

    Args:
        owner: whose row was asked for last; None for nobody's.
        score: of that row.
        highest: the highest tie among the last rows of that score.
    """

    def __init__(self, owner: object = None, score: float = 0.0, highest: int = 0) -> None:
        self.owner, self.score, self.highest = owner, score, highest

    def keeps(self, owner: object, number: int, tie: int) -> bool:
        """Whether a row can be given back exactly; those that cannot are left out of what follows.

        Args:
            owner: whose it is; anything that can be compared, and that JSON can hold.
            number: its moment, a whole number of which the score is the nearest double.
            tie: its number.
        """
        if owner == self.owner and float(number) == self.score:
            if tie < self.highest:
                return False
            self.highest = tie
            return True
        self.owner, self.score, self.highest = owner, float(number), tie
        return True
