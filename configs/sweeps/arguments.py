"""What sweeps share: dividing the text after ':' into what is theirs and what they hand on to their runs' configs."""

from common import OF_A_TRIAL


def pick(arg: str | None, *keys: str) -> tuple[str, str]:
    """Divides 'a=1,b=2,c' into the items of `keys` and the others: pick('a=1,b=2,c', 'b') -> ('b=2', 'a=1,c')."""
    items = [item for item in (arg or "").split(",") if item]
    picked = [item for item in items if item.partition("=")[0] in keys]
    return ",".join(picked), ",".join(item for item in items if item not in picked)


def join(*parts: str) -> str:
    """Joins arguments, of which some may be empty: join('column=c', '', 'val=50') -> 'column=c,val=50'."""
    return ",".join(filter(None, parts))


def over(defaults: str, arg: str | None) -> str:
    """Puts `arg` after defaults, of which it then overrules what it names: over('val=50', 'val=5') -> 'val=50,val=5'.

    What a trial decides has no default there: over('size=nano,val=50', 'runlocal') -> 'size=nano,runlocal'.
    """
    trial = {"runlocal", "runlocal=", "runlocal=true"} & set((arg or "").lower().split(","))
    return join(pick(defaults, *OF_A_TRIAL)[1] if trial else defaults, arg or "")
