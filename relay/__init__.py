"""jt1078relay: terminals by JT/T 808 and JT/T 1078, superior platforms by JT/T 809, players by whatever they speak."""

__version__ = "0.1.0"
