"""A worker that attacks its server. Each question names an attack; the answer is `got` or the error."""
import ctypes
import errno
import os
import sys

SERVER = os.getppid()
libc = ctypes.CDLL(None, use_errno=True)


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result


def system_call(*arguments):
    return checked(libc.syscall(*map(ctypes.c_long, arguments)))


def readable(name):
    with open(f"/proc/{SERVER}/{name}", "rb") as file:
        return file.read(1)


def memory():
    with open(f"/proc/{SERVER}/mem", "r+b", buffering=0):
        pass


def descriptors():
    os.listdir(f"/proc/{SERVER}/fd")


def standard_error():
    os.close(os.open(f"/proc/{SERVER}/fd/2", os.O_WRONLY))


def other_process_memory():
    class Part(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]

    # Any address: whether it is mapped comes after whether it may be read.
    into = ctypes.create_string_buffer(1)
    ours, theirs = Part(ctypes.addressof(into), 1), Part(4096, 1)
    arguments = [ctypes.byref(ours), ctypes.c_ulong(1), ctypes.byref(theirs), ctypes.c_ulong(1)]
    try:
        checked(libc.process_vm_readv(SERVER, *arguments, ctypes.c_ulong(0)))
    except OSError as error:
        if error.errno != errno.EFAULT:
            raise


def trace():
    attach, detach = 16, 17
    checked(libc.ptrace(attach, SERVER, None, None))
    os.waitpid(SERVER, 0x40000000)
    checked(libc.ptrace(detach, SERVER, None, None))


def take_descriptor():
    server = os.pidfd_open(SERVER)
    pidfd_getfd = 438
    os.close(system_call(pidfd_getfd, server, 2, 0))


def become_root():
    set_uid = [line for line in open("/proc/self/status") if line.startswith("NoNewPrivs")]
    if set_uid[0].split()[1] == "1":
        raise OSError(errno.EPERM, "no new privileges")


ATTACKS = {
    "environ": lambda: readable("environ"),
    "maps": lambda: readable("maps"),
    "auxv": lambda: readable("auxv"),
    "mem": memory,
    "fd": descriptors,
    "fd/2": standard_error,
    "process_vm_readv": other_process_memory,
    "ptrace": trace,
    "pidfd_getfd": take_descriptor,
    "set-uid": become_root,
}

for line in sys.stdin:
    try:
        ATTACKS[line.strip()]()
        print("got", flush=True)
    except OSError as error:
        print(errno.errorcode[error.errno], flush=True)
