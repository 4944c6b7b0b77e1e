"""Any action as the command line that a person would type: for reports, never for running.

labrun does not run these lines; the agent talks to the kernel. But a reader knows `ip route add default via ...`, can
paste it, and can tell from it what was done. Node names appear as the names under /run/netns that they are.
What has no command is told in a shell comment.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from typing import Any

from labrun.protocol.actions import (
    Action,
    Address,
    Capture,
    Link,
    Lookup,
    Namespace,
    Neighbour,
    Nft,
    Peer,
    Prompt,
    Route,
    Rule,
    Run,
    Send,
    Snapshot,
    SnapshotPart,
    Start,
    Stop,
    Sysctl,
    Trace,
    Wait,
)

OFFLOADS = ("tx", "sg", "tso", "gso", "gro")  # man 8 ethtool
WHOLE_PACKET = Capture(()).snaplen
SNAPSHOT_COMMANDS: dict[SnapshotPart, str] = {
    "links": "ip -details link show",
    "addresses": "ip address show",
    "routes": "ip route show table all",
    "rules": "ip rule show",
    "neighbours": "ip neighbour show",
    "sockets": "ss -tuw0anp",
    "nft": "nft list ruleset",
    "counters": "ip -statistics link show",
}


def equivalent(action: Action) -> str:
    """The command line, in one line except for a here-document. `shlex.split` gives its words back."""
    return _SHOWN[type(action)](action)


def quoted(word: str) -> str:
    """``word`` for a shell. Only what cannot be printed on a line needs bash's $'...'."""
    if word.isprintable():
        return shlex.quote(word)
    return "$'" + "".join(map(_escaped, word)) + "'"


def _escaped(character: str) -> str:
    code = ord(character)
    if character in "\\'":
        return "\\" + character
    if character.isprintable():
        return character
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, as Python carries it
        return f"\\x{code & 0xFF:02x}"
    plain = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return plain.get(character) or (f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")


def _words(words: Iterable[str]) -> str:
    return " ".join(map(quoted, words))


def _options(*pairs: tuple[str, Any]) -> list[str]:
    """The pairs whose value was given."""
    return [word for name, value in pairs if value is not None for word in (name, str(value))]


def _here(command: str, text: str) -> str:
    """``command`` with ``text`` on its stdin. A here-document ends in a newline; what does not, is piped in."""
    if not text:
        return f"{command} </dev/null"
    if not text.endswith("\n"):
        return f"printf %s {quoted(text)} | {command}"
    end, number = "EOF", 0
    while end in text.splitlines():
        number += 1
        end = f"EOF{number}"
    return f"{command} <<'{end}'\n{text}{end}"


def _run(action: Run) -> str:
    return _words(action.argv) if action.stdin is None else _here(_words(action.argv), action.stdin)


def _start(action: Start) -> str:
    if action.stdin is None:
        return f"{_words(action.argv)} &"
    first, newline, rest = _here(_words(action.argv), action.stdin).partition("\n")
    return f"{first} &{newline}{rest}"


def _stop(action: Stop) -> str:
    return _words(["kill", *([] if action.signal == "TERM" else ["-s", action.signal]), f"%{action.step}"])


def _capture(action: Capture) -> str:
    """tcpdump takes one interface at a time; labrun's one capture is shown as so many. ``-p``: not promiscuous."""
    quiet = [] if action.promiscuous or action.interfaces == ("any",) else ["-p"]
    options = [] if action.snaplen == WHOLE_PACKET else ["-s", str(action.snaplen)]
    wanted = [action.filter] if action.filter else []
    return " & ".join(_words(["tcpdump", *quiet, "-i", name, *options, *wanted]) for name in action.interfaces)


def _namespace(action: Namespace) -> str:
    words = _words(["ip", "netns", action.op, action.name])
    return words if action.machine is None else f"{words}  # a machine of its own"


def _link(action: Link) -> str:
    if action.op == "delete":
        return _words(["ip", "link", "delete", "dev", action.name])
    settings = _link_settings(action)
    if action.op == "set":
        words = [*settings, *_options(("name", action.rename))]
        changed = _words(["ip", "link", "set", "dev", action.name, *words])
        if action.offloads is None:
            return changed
        switches = (word for feature in OFFLOADS for word in (feature, action.offloads))
        switched = _words(["ethtool", "-K", action.name, *switches])
        return f"{switched} && {changed}" if words else switched
    name = action.rename or action.name
    if action.type in ("tun", "tap"):
        made = _words(["ip", "tuntap", "add", "dev", name, "mode", action.type])
        return f"{made} && {_words(['ip', 'link', 'set', 'dev', name, *settings])}" if settings else made
    below = [] if action.type == "vxlan" else _options(("link", action.link))
    kind = _options(("type", action.type))
    return _words(["ip", "link", "add", *below, name, *settings, *kind, *_link_kind(action)])


def _link_settings(action: Link) -> list[str]:
    words = _options(("mtu", action.mtu), ("address", action.mac), ("txqueuelen", action.txqueuelen))
    if action.master is not None:
        words += ["master", action.master] if action.master else ["nomaster"]
    for name, value in (("arp", action.arp), ("promisc", action.promisc)):
        if value is not None:
            words += [name, "on" if value else "off"]
    if action.up is not None:
        words.append("up" if action.up else "down")
    return words + _options(("netns", action.move_to))


def _link_kind(action: Link) -> list[str]:
    """What comes after `type KIND`."""
    words: list[str] = []
    if action.type == "veth" and action.peer is not None:
        words += ["peer", *_peer(action.peer)]
    if action.type == "vxlan":
        words += _options(
            ("id", action.vni),
            ("dev", action.link),
            ("remote", action.remote),
            ("local", action.local),
            ("dstport", action.port),
        )
    if action.type == "vlan":
        words += _options(("id", action.vlan))
    return words + _options(("mode", action.mode))


def _peer(peer: Peer) -> list[str]:
    return _options(("name", peer.name), ("mtu", peer.mtu), ("address", peer.mac), ("netns", peer.node))


def _address(action: Address) -> str:
    options = _options(("peer", action.peer), ("broadcast", action.broadcast), ("scope", action.scope))
    return _words(["ip", "address", action.op, action.address, *options, "dev", action.dev])


def _route(action: Route) -> str:
    words = ["ip", "route", action.op, *([action.type] if action.type else []), action.to]
    if action.via is not None:
        other = action.to not in ("default", "all", "any") and ":" in action.via and ":" not in action.to
        words += ["via", *(["inet6"] if other else []), action.via]
    words += _options(
        ("dev", action.dev),
        ("table", action.table),
        ("src", action.src),
        ("scope", action.scope),
        ("metric", action.metric),
        ("mtu", action.mtu),
    )
    return _words([*words, *(["onlink"] if action.onlink else [])])


def _rule(action: Rule) -> str:
    of_ipv6 = action.family == "inet6" or any(":" in text for text in (action.source, action.to) if text)
    words = ["ip", *(["-6"] if of_ipv6 else []), "rule", action.op]
    words += _options(
        ("priority", action.priority),
        ("from", action.source),
        ("to", action.to),
        ("iif", action.iif),
        ("oif", action.oif),
        ("fwmark", action.fwmark),
        ("table", action.table),
    )
    return _words([*words, *([action.action] if action.action else [])])


def _neighbour(action: Neighbour) -> str:
    options = _options(("lladdr", action.lladdr), ("dev", action.dev), ("nud", action.state))
    return _words(["ip", "neighbour", action.op, action.to, *options])


def _sysctl(action: Sysctl) -> str:
    return _words(["sysctl", "-w", *(f"{key}={value}" for key, value in action.settings)])


def _nft(action: Nft) -> str:
    ruleset = action.ruleset
    return _here("nft -f -", ruleset if ruleset.endswith("\n") else ruleset + "\n")


def _send(action: Send) -> str:
    """What to type at scapy's prompt. A packet expression over several lines is as good on one."""
    arguments = [" ".join(action.packet.split("\n"))]
    if action.dev is not None:
        arguments.append(f"iface={action.dev!r}")
    if action.count != 1:
        arguments.append(f"count={action.count}")
    call = "send" if action.dev is None else "sendp"
    return f"{call}({', '.join(arguments)})"


def _snapshot(action: Snapshot) -> str:
    """Node names cannot be in the commands without hiding them; they are said behind."""
    commands = "; ".join(SNAPSHOT_COMMANDS[part] for part in action.parts)
    again = f", every {action.every_s:g} s for {action.for_s:g} s" if action.for_s is not None else ""
    return f"{commands}  # in {_words(action.nodes)}{again}"


def _lookup(action: Lookup) -> str:
    options = _options(("from", action.source), ("iif", action.iif), ("oif", action.oif), ("mark", action.mark))
    return _words(["ip", "route", "get", action.to, *options])


def _trace(action: Trace) -> str:
    rule = f"nft add rule inet trace prerouting {action.match or ''}".rstrip()
    return f"{' '.join(rule.split())} meta nftrace set 1; nft monitor trace"


def _wait(action: Wait) -> str:
    if action.port is not None:
        option = "-Htln" if action.protocol == "tcp" else "-Huln"
        condition = f"ss {option} {quoted(f'sport = :{action.port}')} | grep -q ."
    elif action.link_up is not None:
        condition = f"ip -oneline link show dev {quoted(action.link_up)} up | grep -q 'state UP'"
    elif action.addresses:
        condition = "! ip -6 -oneline address show tentative | grep -q ."
    elif action.succeeds is not None:
        condition = _words(action.succeeds)
    elif action.packets is not None:
        packets = "1 packet" if action.count == 1 else f"{action.count} packets"
        return f"# wait until the capture {quoted(action.packets)} has {packets}"
    else:
        return f"# wait until the output of {quoted(action.output or '')} matches {quoted(action.matches or '')}"
    return f"until {condition}; do sleep {action.every_s:g}; done"


# A dict by class, not a match statement: a new kind of action fails the test that goes through all of them.
_SHOWN: dict[type, Callable[[Any], str]] = {
    Run: _run,
    Start: _start,
    Stop: _stop,
    Capture: _capture,
    Namespace: _namespace,
    Link: _link,
    Address: _address,
    Route: _route,
    Rule: _rule,
    Neighbour: _neighbour,
    Sysctl: _sysctl,
    Nft: _nft,
    Send: _send,
    Snapshot: _snapshot,
    Lookup: _lookup,
    Trace: _trace,
    Wait: _wait,
    Prompt: lambda action: "# somebody types commands",
}
