"""What holds for every test, whoever starts them."""

import signal

# A shell starts its background jobs with SIGINT ignored, and children inherit that: there, tests of Ctrl-C would wait
# for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)
