#!/bin/sh
# A new user's first ten minutes: from a clone to a lab of their own, with one surprise explained. CI runs this.
#
#     sh tests/e2e/first_ten_minutes.sh FROM [VENV]
#
# FROM: what git clones. VENV: a virtual environment that has what `make` would install, where there is one already.
# It works in the current folder, which should be empty, and leaves the machine as it is: labs run natively.
set -eu

from=${1:?what git clones}
venv=${2:-}

say() { printf '\n## %s\n' "$*"; }

# Ends with the status that is meant, whatever the command's own is.
ends() {
    wanted=$1
    shift
    status=0
    "$@" || status=$?
    [ "$status" -eq "$wanted" ] || { echo "$* ended with $status, and not with $wanted" >&2; exit 1; }
}

say "Get it"
git clone --quiet --depth 1 "$from" labrun
cd labrun

if [ -n "$venv" ]; then
    PATH="$venv/bin:$PATH"
else
    make setup
    PATH="$PWD/.venv/bin:$PATH"
fi
export PATH

say "What works here, and what labs are there?"
labrun doctor
labrun list

say "Run one of them"
labrun run own-address --engine native

say "Why is that so?"
labrun explain own-address/goes-out-docker0

say "Begin a lab of my own"
mkdir ../mine
cd ../mine
labrun new crossing --from router
labrun check crossing
ends 0 labrun run crossing --engine native

say "Add what I believe: that a router puts its own address on what it forwards"
cat >>labs/crossing/lab.yaml <<'LAB'
  - id: own-source
    claim: A router puts its own address on what it forwards, so that the answer comes back to it.
    predict:
      packets: {on: router.east, during: probe, direction: out, match: "icmp[icmptype] == icmp-echo and src host 10.2.0.1"}
      count: 1
    control: {none: There is no cause to take away.}
LAB
labrun check crossing

say "A surprise: exit status 1"
ends 1 labrun run crossing/own-source --engine native

say "Look: what was predicted, and what was there instead?"
labrun explain crossing/own-source >why.txt
cat why.txt
grep -q 'observed 0' why.txt
echo 'ip route; tail -n +1 /proc/sys/net/ipv4/ip_forward' |
    labrun shell crossing --node router --engine native >shell.txt
grep -q '10.2.0.0/24 dev east' shell.txt

say "So it is a belief that is wrong. Say so, and why"
sed -i 's/^    control: {none: There is no cause to take away.}$/    expect: refuted\
    because: A router forwards the packet as it is, but for the TTL. Putting its own address on it is NAT, which is not set up here.\
&/' labs/crossing/lab.yaml
labrun check crossing
ends 0 labrun run crossing --engine native

say "What is different from before, and the page to send to a colleague"
first=$(cd reports && for run in 2*; do echo "$run"; break; done)
ends 1 labrun diff "$first"
test -s reports/latest/index.html
labrun history
test -s reports/history.html

say "The colleague has the page alone, and runs the lab again"
mkdir ../colleague
cp reports/latest/index.html ../colleague/mailed.html
cd ../colleague
ends 0 labrun run mailed.html --engine native
