"""Packets taken apart just as far as a question needs: one module a protocol family, bytes in, values out.

`layers` finds where each header begins, `walk` goes from one to the next, the other modules read fields from a header.
Nothing here raises on any bytes, and every loop goes forward or counts. What the capture did not keep is CUT, which is
not the same as what the packet did not have.
"""
