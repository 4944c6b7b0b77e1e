"""Words for the kernel's small numbers that the agent observes by and labs are checked against: iproute2's, where it
names them without reading /etc/iproute2, so that a lab means the same on every host.
"""

from __future__ import annotations

# include/uapi/linux/rtnetlink.h: enum rt_scope_t, RTPROT_*, enum rt_class_t
SCOPES = {0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere"}
PROTOCOLS = {
    0: "unspec", 1: "redirect", 2: "kernel", 3: "boot", 4: "static", 8: "gated", 9: "ra", 10: "mrt", 11: "zebra",
    12: "bird", 13: "dnrouted", 14: "xorp", 15: "ntk", 16: "dhcp", 18: "keepalived", 42: "babel",
    186: "bgp", 187: "isis", 188: "ospf", 189: "rip", 192: "eigrp",
}  # fmt: skip
TABLES = {255: "local", 254: "main", 253: "default"}
# As ip writes the protocol of a rule (iproute2, lib/inet_proto.c: getprotobynumber()): those of /etc/protocols that
# matter here; others by number.
IP_PROTOCOLS = {
    1: "icmp", 2: "igmp", 4: "ipencap", 6: "tcp", 17: "udp", 41: "ipv6", 47: "gre", 50: "esp", 51: "ah",
    58: "ipv6-icmp", 132: "sctp", 136: "udplite",
}  # fmt: skip
