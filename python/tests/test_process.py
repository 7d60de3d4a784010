"""The wire belongs to the loop: what the program prints, forks, starts and closes does not reach it."""

import os
import signal
import subprocess
import sys
import unittest

from .support import BOOT, PATIENCE, WorkerCase, framed


class Isolation(WorkerCase):
    PROGRAM = """
        import atexit, multiprocessing, os, subprocess, sys, threading, time
        print("imported")
        atexit.register(lambda: print("at exit"))
        START = sys.stdin.read()
        def prints() -> int:
            print("printed")
            sys.stdout.write("half a line")
            sys.stdout.flush()
            return 1
        def writes() -> int:
            os.write(1, b"written\\n")
            thread = threading.Thread(target=os.write, args=(1, b"by a thread\\n"))
            thread.start()
            thread.join()
            return os.system("echo by a shell")
        def reads() -> list:
            return [START, sys.stdin.read(), os.read(0, 1).decode(), subprocess.run(["cat"], capture_output=True).returncode]
        def forks() -> int:
            child = os.fork()
            return child and os.waitpid(child, 0)[1]
        def forks_and_leaves(code: int) -> int:
            child = os.fork()
            if not child:
                sys.exit(code)
            return os.WEXITSTATUS(os.waitpid(child, 0)[1])
        def forks_and_raises() -> int:
            child = os.fork()
            if not child:
                1 / 0
            return os.WEXITSTATUS(os.waitpid(child, 0)[1])
        def forks_in_a_stream():
            yield "before"
            child = os.fork()
            yield child and os.waitpid(child, 0)[1]
        def double(n): return n * 2
        def pool(n: int) -> list:
            with multiprocessing.get_context("fork").Pool(2) as pool:
                return pool.map(double, range(n))
        def terminates() -> int:
            child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
            child.start()
            child.terminate()
            child.join()
            return child.exitcode
        def lives_on() -> int:
            return subprocess.Popen(["sleep", "60"]).pid
        def moves() -> str:
            os.chdir("/")
            return os.getcwd()
        def closes_low() -> None:
            os.closerange(0, 300)
        def closes_all() -> None:
            os.closerange(0, 5000)
        def replaces() -> int:
            import io
            sys.stdout = sys.stderr = io.StringIO()
            print("lost")
            return 1 // 0
        def sets_sigterm() -> None:
            import signal
            signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
        def catches() -> int:
            print("caught soon", flush=True)
            try:
                time.sleep(60)
            except BaseException:
                print("caught")
            return 1
        def fine() -> int: return 1
        def crash():
            import ctypes
            ctypes.string_at(0)
    """

    def test_prints_are_lines_of_the_log(self):
        self.gives("prints", {}, "1")
        self.gives("writes", {}, "0")
        log = self.worker.logged()
        for text in ("imported\n", "printed\nhalf a line", "written\n", "by a thread\n", "by a shell\n"):
            self.assertIn(text, log)

    def test_stdin_is_at_its_end(self):
        self.gives("reads", {}, '["","","",0]')

    def test_children_answer_nothing(self):
        self.gives("forks", {}, "0")
        self.gives("forks_and_leaves", {"code": 5}, "5")
        self.gives("forks_and_raises", {}, "1")
        self.assertEqual(self.worker.ends("forks_in_a_stream"), [b'+"before"', b"+0", b"."])
        self.gives("pool", {"n": 3}, "[0,2,4]")
        self.gives("terminates", {}, str(-signal.SIGTERM))
        self.gives("fine", {}, "1")

    def test_a_child_that_lives_on_does_not_hold_the_wire(self):
        worker = self.start(self.PROGRAM)
        pid = int(worker.ask("lives_on")[1:])
        try:
            self.assertEqual(worker.finish(), ([], 0))  # the end of the pipe is seen
        finally:
            os.kill(pid, signal.SIGKILL)

    def test_another_directory_changes_nothing(self):
        worker = self.start(self.PROGRAM)
        self.assertEqual(worker.ask("moves"), b'="/"')
        self.assertEqual(worker.ask("forks_and_raises"), b"=1")  # imports `traceback` for the first time
        self.assertEqual(worker.ask("fine"), b"=1")

    def test_descriptors_that_the_program_closes(self):
        worker = self.start(self.PROGRAM)
        self.assertEqual(worker.ask("closes_low"), b"=null")
        self.assertEqual(worker.ask("replaces")[:1], b"!")
        self.assertEqual(worker.ask("fine"), b"=1")

    def test_a_program_that_closes_the_wire_ends(self):
        worker = self.start(self.PROGRAM)
        worker.call("closes_all")
        self.assertIsNone(worker.read())
        # Python's own status of an exception; 120 where its last words are held back and fail at the exit.
        self.assertIn(worker.process.wait(PATIENCE), (1, 120))

    def test_streams_that_the_program_replaces(self):
        worker = self.start(self.PROGRAM)
        self.assertEqual(worker.ask("replaces")[:1], b"!")
        self.assertIn("ZeroDivisionError", worker.logged())

    def test_sigterm_runs_what_is_to_run_at_exit(self):
        for call in ("fine", "catches"):
            worker = self.start(self.PROGRAM)
            self.assertEqual(worker.ask("fine"), b"=1")
            if call == "catches":
                worker.call(call)
                self.wait_for(worker, "caught soon")
            worker.process.send_signal(signal.SIGTERM)
            self.assertEqual(worker.process.wait(PATIENCE), 0)
            self.assertTrue(worker.logged().endswith("at exit\n"))

    def wait_for(self, worker, text):
        while text not in worker.logged():
            os.sched_yield()

    def test_a_handler_of_the_program_stays(self):
        worker = self.start(self.PROGRAM)
        worker.ask("sets_sigterm")
        worker.process.send_signal(signal.SIGTERM)
        self.assertEqual(worker.process.wait(PATIENCE), 7)

    def test_a_crash_says_where(self):
        worker = self.start(self.PROGRAM)
        worker.call("crash")
        self.assertIsNone(worker.read())
        self.assertEqual(worker.process.wait(PATIENCE), -signal.SIGSEGV)
        self.assertIn("in crash", worker.logged())

    def test_a_file_beside_the_program_is_not_pythons(self):
        worker = self.start("def f() -> int: return 1", files={"select.py": "1 / 0", "json.py": "1 / 0"})
        self.assertEqual(worker.ask("f"), b"=1")

    def test_few_descriptors(self):
        text = "import resource\ndef f() -> list: return list(resource.getrlimit(resource.RLIMIT_NOFILE))\n"
        with open(os.path.join(self.worker.directory, "few.py"), "w") as file:
            file.write(text)
        import httpipe._worker

        with open(httpipe._worker.__file__, "rb") as file:
            loop = file.read()
        command = 'ulimit -n 64; exec "$0" "$@"'
        done = subprocess.run(["sh", "-c", command, sys.executable, "-c", BOOT, "few.py:f"], cwd=self.worker.directory,
                              input=framed(loop) + framed(b"1 f {}"), capture_output=True)  # fmt: skip
        self.assertEqual(done.stdout, framed(b"1 =[64,64]"))


class OldPython(unittest.TestCase):
    def test_the_boot_code_is_for_any_python(self):
        """What runs before the version is known has no syntax of its own time, and says which Python is meant."""
        text = BOOT.replace("sys.version_info < (3, 9)", "True").replace("sys.version_info[:2]", "(3, 8)")
        done = subprocess.run([sys.executable, "-c", text, "program.py:f"], capture_output=True,
                              input=framed(b"not for this Python (") + framed(b'17 ? {"version":1}'))  # fmt: skip
        why = b"httpipe serves functions of Python 3.9 or later, and this is Python 3.8"
        problem = b'{"kind":"version","where":"","line":"","message":"%s"}' % why
        self.assertEqual(done.stdout, framed(b'17 !{"status":500,"message":"%s","problem":%s}' % (why, problem)))
        self.assertEqual((done.returncode, done.stderr), (2, why + b"\n"))


