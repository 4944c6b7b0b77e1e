"""The small program inside the sandbox: carries out a plan and emits events. Decides nothing, judges nothing.

Standard library, pyroute2 and scapy; of labrun it knows the protocol alone. The host ships this source with each
plan, so the two cannot drift.
"""
