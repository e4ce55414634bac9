"""What sweeps share: dividing the text after ':' into what is theirs and what they hand on to their runs' configs."""


def pick(arg: str | None, *keys: str) -> tuple[str, str]:
    """Divides 'a=1,b=2,c' into the items of `keys` and the others: pick('a=1,b=2,c', 'b') -> ('b=2', 'a=1,c')."""
    items = [item for item in (arg or "").split(",") if item]
    picked = [item for item in items if item.partition("=")[0] in keys]
    return ",".join(picked), ",".join(item for item in items if item not in picked)


def join(*parts: str) -> str:
    """Joins arguments, of which some may be empty: join('column=c', '', 'val=50') -> 'column=c,val=50'."""
    return ",".join(filter(None, parts))
