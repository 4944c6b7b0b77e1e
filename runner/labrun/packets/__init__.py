"""Bytes only: headers and their fields, pcap filters, capture files. Knows no lab, no evidence, no verdict."""
