"""N hosts on one Linux bridge with Mininet (Debian's package), a ping across, and down: mininet_nodes.py N. Needs root."""

import sys

from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.nodelib import LinuxBridge
from mininet.topo import SingleSwitchTopo

setLogLevel("error")
net = Mininet(SingleSwitchTopo(int(sys.argv[1])), switch=LinuxBridge, controller=None)
net.start()
out = net.hosts[0].cmd("ping -c 1 -W 2 " + net.hosts[-1].IP())
net.stop()
sys.exit(0 if " 1 received" in out else out)
