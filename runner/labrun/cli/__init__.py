"""The command line: one module a command. Thin: parse, call, print, exit code.

Only here are environment variables read.
"""
