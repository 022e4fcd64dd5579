"""The recipes of both README.md, and the demo they are for, in a network and
below a /usr/local/sbin of their own."""

import os
import re
import shutil
import subprocess

from mailtest import (DEADLINE, POP3, ROOT, SMTP, TestCase, clean_environment,
                      wait_for)

PAGES = (ROOT / "README.md", ROOT / "units" / "README.md")


def blocks(title):
    """The indented blocks of the section, whatever its level."""
    text = "".join(page.read_text() for page in PAGES)
    match = re.search(rf"(?ms)^#+ {re.escape(title)}\n(.*?)(?=^##|\Z)", text)
    if not match:
        raise AssertionError(f"no README.md has a section {title}")
    return [re.sub("(?m)^    ", "", block[1]) for block in re.finditer(
        r"(?m)(?<=\n\n)((?:    .*\n)+)", "\n" + match[1])]


class Recipes(TestCase):
    """self.dir is the checkout that README speaks of, and the home folder."""

    def setUp(self):
        super().setUp()
        self.path("build").mkdir()
        self.path("sbin").mkdir()
        for program in (POP3, SMTP):
            self.path("build", program.name).symlink_to(program)
            shutil.copy(program, self.path("sbin"))
        script = ("set -e\nip link set lo up\n"
                  f"mount --bind {self.path('sbin')} /usr/local/sbin\n"
                  "echo ready\nexec sleep 600")
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        self.namespaces = subprocess.Popen(
            ["unshare", *user, "--net", "--mount", "--propagation", "private",
             "sh", "-c", script], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        self.addCleanup(self.end, self.namespaces)
        said = self.namespaces.stdout.readline()
        if said != b"ready\n":
            if os.geteuid() == 0:
                self.fail(said)
            self.skipTest("needs root or user namespaces: "
                          + said.decode().strip())

    def end(self, process):
        process.terminate()
        process.communicate()

    def path(self, *names):
        return self.dir.joinpath(*names)

    def inside(self, *argv):
        pid = self.namespaces.pid
        user = [] if os.geteuid() == 0 else [
            "--user", "--preserve-credentials"]
        return ["nsenter", "-t", str(pid), *user, "--net", "--mount",
                f"--wd={self.dir}", *argv]

    def environment(self):
        return clean_environment({"HOME": self.dir, "TERM": "xterm",
                                  "BUILD": self.path("build")})

    def start(self, *argv, **kwargs):
        process = subprocess.Popen(
            self.inside(*argv), env=self.environment(),
            stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, **kwargs)
        self.addCleanup(self.end, process)
        return process

    def recipe(self, text, stdin=""):
        done = subprocess.run(
            self.inside("sh", "-euc", text), env=self.environment(),
            input=stdin, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=3 * DEADLINE)
        print(f"--- {text}--- {done.returncode}\n{done.stdout}")
        self.assertEqual(done.returncode, 0, f"{text}\n{done.stdout}")
        return done.stdout

    def demo(self, **kwargs):
        """Once it serves."""
        said = self.path("said")
        with open(said, "wb") as output:
            process = self.start(str(ROOT / "tests" / "demo.sh"),
                                 stdout=output, **kwargs)
        wait_for(lambda: "Serving until" in said.read_text()
                 or process.poll() is not None, "the demo")
        self.assertIsNone(process.poll(), said.read_text())
        return process

    def mails(self):
        return sum(path.is_file() and path.parent.name in ("cur", "new")
                   for path in self.path("build/demo/maildir").rglob("*"))
