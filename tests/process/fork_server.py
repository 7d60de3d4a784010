"""The fork server, and workers that answer lines with what a small program says."""
import json, sys, types


def load(target):
    """Runs the text of a program. Returns it as a module."""
    program = types.ModuleType("program")
    sys.modules["program"] = program
    exec(compile(target, "<program>", "exec"), program.__dict__)
    return program


def serve(program):
    """Answers each line with what the program's function `answer` makes of it."""
    getattr(program, "setup", lambda: None)()
    for line in sys.stdin:
        print(program.answer(line.rstrip("\n")), flush=True)


# ---- The fork server

import ctypes, gc, os, random, signal, socket, warnings

PR_SET_PDEATHSIG = 1


def main_fork_server(target):
    """Loads the target, describes it, and makes a worker for each packet `fork`. Returns in a worker."""
    server = os.getppid()
    control = socket.socket(fileno=os.dup(0))
    control.set_inheritable(False)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    program = load(target)
    gc.collect()
    gc.freeze()
    _send_text(control, json.dumps({"httpipe": 1}).encode())
    while True:
        packet, descriptors, _, _ = socket.recv_fds(control, 16, 4, socket.MSG_CMSG_CLOEXEC)
        if not packet:
            os._exit(0)
        if len(descriptors) == 4 and _fork_twice(descriptors[3]):
            break
        for descriptor in descriptors:
            os.close(descriptor)
    control.close()
    _be_born(descriptors, server, prctl)
    return program


def _send_text(control, text):
    """Sends a text of any length: a packet with its length, then its parts."""
    control.sendall(len(text).to_bytes(4, "big"))
    for begin in range(0, len(text), 32768):
        control.sendall(text[begin:begin + 32768])


def _fork_or_tell(birth):
    """Forks. If that fails, tells why and returns None."""
    with warnings.catch_warnings():
        # Python warns of threads; those that are left are OpenBLAS's, which end before a fork.
        warnings.simplefilter("ignore")
        try:
            return os.fork()
        except OSError as error:
            _tell(birth, "!" + str(error))


def _fork_twice(birth):
    """Forks a process that forks the worker and ends: the kernel then makes the worker the server's
    own child. Returns true in the worker."""
    sys.stdout.flush()
    sys.stderr.flush()
    between = _fork_or_tell(birth)
    if between == 0:
        if _fork_or_tell(birth) == 0:
            return True
        os._exit(0)
    if between:
        try:
            os.waitpid(between, 0)
        except ChildProcessError:
            pass                        # the program ignores SIGCHLD
        _tell(birth, ".")
    return False


def _tell(birth, words):
    """Says something to the server, if it still listens."""
    with socket.socket(fileno=os.dup(birth)) as it:
        try:
            it.send(words.encode(), socket.MSG_NOSIGNAL)
        except OSError:
            pass


def _be_born(descriptors, server, prctl):
    """Makes this process a worker: its own group, its own streams, and an end with the server's."""
    birth = descriptors.pop()
    os.setpgid(0, 0)
    _tell(birth, str(os.getpid()))
    if os.read(birth, 16) != b"go":
        os._exit(0)                     # the server has given this fork up, or has gone
    os.close(birth)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != server:
        os._exit(0)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    random.seed()


serve(main_fork_server(sys.argv[1]))
