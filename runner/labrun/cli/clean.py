"""`labrun clean`: removes whatever a killed run or build left behind."""

from __future__ import annotations

import click


@click.command
def clean() -> None:
    """Remove what killed runs left: containers, cgroups, unfinished image builds. Live runs are left alone."""
    from labrun.cli.engines import find_daemon
    from labrun.engines.cgroups import sweep
    from labrun.image.rootfs import remove_rootfs

    removed = [f"cgroup {folder}" for folder in sweep()]
    removed += [f"folder {folder}" for folder in remove_rootfs()]
    client, _ = find_daemon()
    if client is not None:
        from labrun.engines.docker import discard, left_over
        from labrun.image.build import remove_leftovers

        for container in left_over(client):
            discard(client, container.id)
            removed.append(f"container {container.name}")
        removed += remove_leftovers(client)
    for what in removed:
        print(f"removed {what}")
    if not removed:
        print("nothing was left over")
