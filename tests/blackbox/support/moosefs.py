"""MooseFS, whose servers tests/setup.sh has unpacked: what they read, in a
folder, and how they are started in the foreground."""

import shutil

from mailtest import TOOLS
from superservers import listening, tool_command

MASTER_PORTS = 9420, 9421       # for chunk servers, for mounts


def master_listens(pid):
    """In the network of that process."""
    return all(listening(port, f"/proc/{pid}/net") for port in MASTER_PORTS)


class Moosefs:
    """One master and any number of chunk servers and mounts, whose settings
    are all below the folder."""

    def __init__(self, folder, master):
        """The master's address is none of 127.0.0.0/8: it would refuse."""
        self.folder, self.master = folder, master

    def write(self, name, **settings):
        path = self.folder / name
        path.write_text("".join(f"{key} = {value}\n" for key, value
                                in settings.items()))
        return path

    def data(self, name):
        path = self.folder / name
        path.mkdir(exist_ok=True)
        return path

    def start_master(self):
        data = self.data("master")
        shutil.copy(TOOLS / "moosefs-master/var/lib/mfs/metadata.mfs.empty",
                    data / "metadata.mfs")
        exports = self.folder / "exports.cfg"
        exports.write_text("* / rw,alldirs,maproot=0\n")
        settings = self.write(
            "master.cfg", WORKING_USER="root", WORKING_GROUP="root",
            DATA_PATH=data, EXPORTS_FILENAME=exports,
            TOPOLOGY_FILENAME=self.write("topology.cfg"),
            # So long are the locks of a host kept that is gone
            SESSION_SUSTAIN_TIME=60)
        return tool_command("moosefs-master", "mfsmaster", "-f", "-c",
                            settings, "start")

    def start_chunks(self, name, disk):
        """The disk: a folder that is this chunk server's alone."""
        disks = self.folder / f"disks.{name}.cfg"
        disks.write_text(f"{disk}\n")
        settings = self.write(
            f"chunks.{name}.cfg", WORKING_USER="root", WORKING_GROUP="root",
            DATA_PATH=self.data(f"chunks.{name}"), HDD_CONF_FILENAME=disks,
            MASTER_HOST=self.master, HDD_LEAVE_SPACE_DEFAULT="64MiB")
        return tool_command("moosefs-chunkserver", "mfschunkserver", "-f",
                            "-c", settings, "start")

    def mount(self, where):
        return tool_command("moosefs-client", "mfsmount", where, "-f", "-H",
                            self.master, "-o", "allow_other")
