"""All that the host and the agent share: the plan that goes in, the events that come out, and their JSON.

Standard library only, because the agent runs it inside the sandbox on the image's own Python.
"""
