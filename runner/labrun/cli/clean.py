"""`labrun clean`: removes whatever a killed run or build left behind."""

from __future__ import annotations


def clean() -> None:
    """Remove what killed runs left: containers, and folders of unfinished image builds. Live runs are left alone."""
    from labrun.engines.docker import connect, discard, left_over
    from labrun.image.build import remove_leftovers

    client = connect()
    count = 0
    for container in left_over(client):
        discard(client, container.id)
        print(f"removed container {container.name}")
        count += 1
    for removed in remove_leftovers(client):
        print(f"removed {removed}")
        count += 1
    if not count:
        print("nothing was left over")
