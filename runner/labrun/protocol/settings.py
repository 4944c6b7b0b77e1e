"""What the kernel's settings are in a node before its lab says otherwise: one table, the same on every host.

A new network namespace does not start from the kernel's defaults alone. net/ipv4/devinet.c (devinet_init_net) copies
net.ipv4.conf.all and .default from the first namespace, so that Docker's `ip_forward = 1` or a distribution's
`rp_filter = 2` would be in every node; net/ipv6/addrconf.c does so where net.core.devconf_inherit_init_net is 1;
net/ipv4/tcp_ipv4.c (tcp_sk_init) copies the congestion control and the buffer sizes. Other values differ from kernel to
kernel. Each value here is the default that Documentation/networking/ip-sysctl.rst gives, or the initialiser in the file
that is named. A setting that a kernel does not have is passed over.
"""

from __future__ import annotations

# net/ipv4/devinet.c: ipv4_devconf, ipv4_devconf_dflt. `forwarding` comes first: setting it sets accept_redirects too.
_IPV4 = {
    "forwarding": "0", "accept_local": "0", "accept_redirects": "1", "accept_source_route": "0", "arp_accept": "0",
    "arp_announce": "0", "arp_evict_nocarrier": "1", "arp_filter": "0", "arp_ignore": "0", "arp_notify": "0",
    "bc_forwarding": "0", "bootp_relay": "0", "disable_policy": "0", "disable_xfrm": "0", "drop_gratuitous_arp": "0",
    "drop_unicast_in_l2_multicast": "0", "force_igmp_version": "0", "igmpv2_unsolicited_report_interval": "10000",
    "igmpv3_unsolicited_report_interval": "1000", "ignore_routes_with_linkdown": "0", "log_martians": "0",
    "medium_id": "0", "promote_secondaries": "0", "proxy_arp": "0", "proxy_arp_pvlan": "0", "route_localnet": "0",
    "rp_filter": "0", "secure_redirects": "1", "send_redirects": "1", "shared_media": "1", "src_valid_mark": "0",
    "tag": "0",
}  # fmt: skip
_IPV4_DEFAULT = {"accept_source_route": "1"}

# net/ipv6/addrconf.c: ipv6_devconf, ipv6_devconf_dflt.
_IPV6 = {
    "forwarding": "0", "disable_ipv6": "0", "accept_dad": "0", "accept_ra": "1", "accept_ra_defrtr": "1",
    "accept_ra_from_local": "0", "accept_ra_min_hop_limit": "1", "accept_ra_min_lft": "0", "accept_ra_mtu": "1",
    "accept_ra_pinfo": "1", "accept_ra_rt_info_max_plen": "0", "accept_ra_rt_info_min_plen": "0",
    "accept_ra_rtr_pref": "1", "accept_redirects": "1", "accept_source_route": "0", "accept_untracked_na": "0",
    "addr_gen_mode": "0", "autoconf": "1", "dad_transmits": "1", "disable_policy": "0",
    "drop_unicast_in_l2_multicast": "0", "drop_unsolicited_na": "0", "enhanced_dad": "1", "force_forwarding": "0",
    "force_mld_version": "0", "force_tllao": "0", "hop_limit": "64", "ignore_routes_with_linkdown": "0",
    "ioam6_enabled": "0", "keep_addr_on_down": "0", "max_addresses": "16", "max_desync_factor": "600",
    "mldv1_unsolicited_report_interval": "10000", "mldv2_unsolicited_report_interval": "1000",
    "ndisc_evict_nocarrier": "1", "ndisc_notify": "0", "ndisc_tclass": "0", "optimistic_dad": "0", "proxy_ndp": "0",
    "ra_defrtr_metric": "1024", "regen_max_retry": "3", "router_probe_interval": "60",
    "router_solicitation_delay": "1", "router_solicitation_interval": "4", "router_solicitation_max_interval": "3600",
    "router_solicitations": "-1", "rpl_seg_enabled": "0", "seg6_enabled": "0", "seg6_require_hmac": "0",
    "suppress_frag_ndisc": "1", "temp_prefered_lft": "86400", "temp_valid_lft": "604800", "use_oif_addrs_only": "0",
    "use_optimistic": "0", "use_tempaddr": "0",
}  # fmt: skip
_IPV6_DEFAULT = {"accept_dad": "1"}
_IPV6_LO = {"accept_dad": "-1", "use_tempaddr": "-1"}  # ipv6_add_dev() of a loopback interface

# net/ipv4/tcp_ipv4.c (tcp_sk_init), net/ipv4/af_inet.c (inet_init_net), net/ipv4/icmp.c, net/ipv4/route.c. The largest
# buffers follow from the machine's memory: here they are what ip-sysctl.rst gives.
_IPV4_ALONE = {
    "fib_multipath_hash_fields": "7", "fib_multipath_hash_policy": "0", "fwmark_reflect": "0",
    "icmp_echo_enable_probe": "0", "icmp_echo_ignore_all": "0", "icmp_echo_ignore_broadcasts": "1",
    "icmp_errors_use_inbound_ifaddr": "0", "icmp_ignore_bogus_error_responses": "1", "icmp_msgs_burst": "50",
    "icmp_msgs_per_sec": "1000", "icmp_ratelimit": "1000", "icmp_ratemask": "6168",
    "igmp_link_local_mcast_reports": "1", "igmp_max_memberships": "20", "igmp_max_msf": "10", "igmp_qrv": "2",
    "ip_autobind_reuse": "0", "ip_default_ttl": "64", "ip_dynaddr": "0", "ip_early_demux": "1",
    "ip_forward_update_priority": "1", "ip_forward_use_pmtu": "0", "ip_local_port_range": "32768 60999",
    "ip_local_reserved_ports": "", "ip_no_pmtu_disc": "0", "ip_nonlocal_bind": "0",
    "ip_unprivileged_port_start": "1024", "ipfrag_high_thresh": "4194304", "ipfrag_low_thresh": "3145728",
    "ipfrag_max_dist": "64", "ipfrag_time": "30", "nexthop_compat_mode": "1",
    "route/min_adv_mss": "256", "route/min_pmtu": "552", "route/mtu_expires": "600", "tcp_abort_on_overflow": "0",
    "tcp_autocorking": "1", "tcp_base_mss": "1024", "tcp_congestion_control": "cubic", "tcp_dsack": "1",
    "tcp_early_retrans": "3", "tcp_ecn": "2", "tcp_ecn_fallback": "1", "tcp_fastopen": "1", "tcp_fin_timeout": "60",
    "tcp_frto": "2", "tcp_fwmark_accept": "0", "tcp_invalid_ratelimit": "500", "tcp_keepalive_intvl": "75",
    "tcp_keepalive_probes": "9", "tcp_keepalive_time": "7200", "tcp_l3mdev_accept": "0", "tcp_max_reordering": "300",
    "tcp_min_rtt_wlen": "300", "tcp_min_snd_mss": "48", "tcp_min_tso_segs": "2", "tcp_moderate_rcvbuf": "1",
    "tcp_mtu_probe_floor": "48", "tcp_mtu_probing": "0", "tcp_no_metrics_save": "0",
    "tcp_no_ssthresh_metrics_save": "1", "tcp_notsent_lowat": "4294967295", "tcp_orphan_retries": "0",
    "tcp_pacing_ca_ratio": "120", "tcp_pacing_ss_ratio": "200", "tcp_probe_interval": "600",
    "tcp_probe_threshold": "8", "tcp_recovery": "1", "tcp_reflect_tos": "0", "tcp_reordering": "3",
    "tcp_retrans_collapse": "1", "tcp_retries1": "3", "tcp_retries2": "15", "tcp_rfc1337": "0",
    "tcp_rmem": "4096 131072 6291456", "tcp_rto_max_ms": "120000", "tcp_rto_min_us": "200000", "tcp_sack": "1",
    "tcp_shrink_window": "0", "tcp_slow_start_after_idle": "1", "tcp_syn_linear_timeouts": "4",
    "tcp_syn_retries": "6", "tcp_synack_retries": "5", "tcp_syncookies": "1", "tcp_thin_linear_timeouts": "0",
    "tcp_timestamps": "1", "tcp_tso_win_divisor": "3", "tcp_tw_reuse": "2", "tcp_window_scaling": "1",
    "tcp_wmem": "4096 16384 4194304", "udp_early_demux": "1", "udp_l3mdev_accept": "0", "udp_rmem_min": "4096",
    "udp_wmem_min": "4096",
}  # fmt: skip

# net/ipv6/af_inet6.c (inet6_net_init), net/ipv6/route.c, net/ipv6/icmp.c
_IPV6_ALONE = {
    "anycast_src_echo_reply": "0", "auto_flowlabels": "1", "bindv6only": "0", "fib_multipath_hash_fields": "7",
    "fib_multipath_hash_policy": "0", "flowlabel_consistency": "1", "flowlabel_reflect": "0",
    "flowlabel_state_ranges": "0", "fwmark_reflect": "0", "icmp/echo_ignore_all": "0",
    "icmp/echo_ignore_anycast": "0", "icmp/echo_ignore_multicast": "0", "icmp/ratelimit": "1000",
    "idgen_retries": "3", "ip_nonlocal_bind": "0", "route/min_adv_mss": "1220", "route/mtu_expires": "600",
}  # fmt: skip

# br_netfilter is a module that Docker and others load, and it sends bridged frames through iptables where these are 1,
# which they are at its start. Without the module they are not there. 0 is as if it were not loaded.
_BRIDGE = {
    "bridge-nf-call-arptables": "0", "bridge-nf-call-ip6tables": "0", "bridge-nf-call-iptables": "0",
    "bridge-nf-filter-pppoe-tagged": "0", "bridge-nf-filter-vlan-tagged": "0", "bridge-nf-pass-vlan-input-dev": "0",
}  # fmt: skip

# net/netfilter/nf_conntrack_core.c, nf_conntrack_proto_tcp.c: some of these follow the module's parameters.
_NETFILTER = {
    "nf_conntrack_acct": "0", "nf_conntrack_checksum": "1", "nf_conntrack_log_invalid": "0",
    "nf_conntrack_tcp_be_liberal": "0", "nf_conntrack_tcp_ignore_invalid_rst": "0", "nf_conntrack_tcp_loose": "1",
    "nf_conntrack_tcp_max_retrans": "3", "nf_conntrack_timestamp": "0",
}  # fmt: skip
_CORE = {"somaxconn": "4096", "txrehash": "1"}  # include/linux/socket.h, net/core/net_namespace.c
_UNIX = {"max_dgram_qlen": "10"}  # net/unix/af_unix.c: unix_net_init()

TABLES = {
    "ipv4/conf/all": _IPV4, "ipv4/conf/default": _IPV4 | _IPV4_DEFAULT,
    "ipv6/conf/all": _IPV6, "ipv6/conf/default": _IPV6 | _IPV6_DEFAULT,
    "ipv6/conf/lo": _IPV6 | _IPV6_DEFAULT | _IPV6_LO,
    "ipv4": _IPV4_ALONE, "ipv6": _IPV6_ALONE, "bridge": _BRIDGE, "netfilter": _NETFILTER, "core": _CORE, "unix": _UNIX,
}  # fmt: skip
"""Folder below /proc/sys/net -> setting -> value. lo's IPv4 settings follow `default` (devinet_copy_dflt_conf)."""

SETTINGS = {f"{folder}/{name}": value for folder, table in TABLES.items() for name, value in table.items()}
"""Path below /proc/sys/net -> value, in the order in which they are set."""

# The machine has one of these for all its namespaces, and new interfaces copy the first namespace's neighbour timings
# (net/core/neighbour.c: neigh_parms_alloc): a sandbox cannot set them, so they are told.
_NEIGHBOUR = {
    "app_solicit": "0", "base_reachable_time_ms": "30000", "delay_first_probe_time": "5", "gc_stale_time": "60",
    "locktime": "100", "mcast_resolicit": "0", "mcast_solicit": "3", "proxy_delay": "80", "proxy_qlen": "64",
    "retrans_time_ms": "1000", "ucast_solicit": "3",
}  # fmt: skip
MACHINE_WIDE = {f"ipv4/neigh/lo/{name}": value for name, value in _NEIGHBOUR.items()} | {
    "core/rmem_default": "212992", "core/rmem_max": "212992", "core/wmem_default": "212992", "core/wmem_max": "212992",
}  # fmt: skip
"""As SETTINGS, of what a node cannot have to itself."""
