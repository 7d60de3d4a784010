# httpipe: the loop of this worker comes through stdin (python/boot.py, python/httpipe/_worker.py)
import os, sys
def read(size):
    data = b""
    while len(data) < size:
        more = os.read(0, size - len(data))
        if not more: sys.exit(2)
        data += more
    return data
def message():
    return read(sum(byte << shift for byte, shift in zip(bytearray(read(4)), (24, 16, 8, 0))))
text = message()
if sys.version_info < (3, 9):
    why = "httpipe serves functions of Python 3.9 or later, and this is Python %d.%d" % sys.version_info[:2]
    end = ' !{"status":500,"message":"%s","problem":{"kind":"version","where":"","line":"","message":"%s"}}' % (why, why)
    end = message().split(b" ")[0] + end.encode()
    os.write(1, bytearray([0, 0, len(end) >> 8, len(end) & 255]) + end)
    sys.stderr.write(why + "\n")
    sys.exit(2)
sys.path[:] = [path for path in sys.path if path]  # a file select.py beside the program is not Python's
worker = {"__name__": "httpipe._worker", "__file__": "<httpipe>"}
exec(compile(text, "<httpipe>", "exec"), worker)
worker["main_" + (sys.argv[2:] or ["worker"])[0]](sys.argv[1])
