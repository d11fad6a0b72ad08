"""A system-call filter for the process that parses untrusted bytes: no network, no files, no other processes."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, MODE_FILTER = 38, 22, 2
ALLOW, KILL = 0x7FFF0000, 0x80000000
REFUSE = 0x00050000  # | errno
NUMBER_AT, ARCHITECTURE_AT, ARGUMENTS_AT = 0, 4, 16  # offsets in struct seccomp_data
CLONE_VM = 0x100

# (AUDIT_ARCH_*, call -> number). Opening a file by name is refused altogether: the child works on what it inherited.
_X86_64 = (
    0xC000003E,
    {
        "open": 2, "shmget": 29, "socket": 41, "connect": 42, "accept": 43, "sendto": 44, "sendmsg": 46,
        "bind": 49, "listen": 50, "socketpair": 53, "fork": 57, "vfork": 58, "execve": 59, "kill": 62, "truncate": 76,
        "rename": 82, "mkdir": 83, "rmdir": 84, "creat": 85, "link": 86, "unlink": 87, "symlink": 88, "chmod": 90,
        "chown": 92, "ptrace": 101, "mknod": 133, "mount": 165, "tkill": 200, "add_key": 248, "keyctl": 250,
        "openat": 257, "mkdirat": 258, "mknodat": 259, "unlinkat": 263, "renameat": 264, "linkat": 265,
        "symlinkat": 266, "fchmodat": 268, "unshare": 272, "accept4": 288, "perf_event_open": 298, "sendmmsg": 307,
        "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311, "renameat2": 316, "bpf": 321,
        "execveat": 322, "userfaultfd": 323, "pidfd_send_signal": 424, "io_uring_setup": 425, "pidfd_open": 434,
        "openat2": 437, "pidfd_getfd": 438,
    },
    {"clone": 56, "clone3": 435, "tgkill": 234, "prlimit64": 302},
)  # fmt: skip
_AARCH64 = (
    0xC00000B7,
    {
        "unlinkat": 35, "mknodat": 33, "mkdirat": 34, "symlinkat": 36, "linkat": 37, "renameat": 38, "mount": 40,
        "truncate": 45, "fchmodat": 53, "openat": 56, "unshare": 97, "ptrace": 117, "kill": 129, "tkill": 130,
        "shmget": 194, "socket": 198, "socketpair": 199, "bind": 200, "listen": 201, "accept": 202, "connect": 203,
        "sendto": 206, "sendmsg": 211, "add_key": 217, "keyctl": 219, "execve": 221, "perf_event_open": 241,
        "accept4": 242, "setns": 268, "sendmmsg": 269, "process_vm_readv": 270, "process_vm_writev": 271,
        "renameat2": 276, "bpf": 280, "execveat": 281, "userfaultfd": 282, "pidfd_send_signal": 424,
        "io_uring_setup": 425, "pidfd_open": 434, "openat2": 437, "pidfd_getfd": 438,
    },
    {"clone": 220, "clone3": 435, "tgkill": 131, "prlimit64": 261},
)  # fmt: skip
# What is refused besides: rights and times of files, mounts, the machine's own settings, memory and queues shared with
# other processes. A server that runs as root must not lend its decoder any of it.
_X86_64[1].update(
    {
        "shmat": 30, "semget": 64, "msgget": 68, "lchown": 94, "syslog": 103, "rt_sigqueueinfo": 129, "utime": 132,
        "pivot_root": 155, "adjtimex": 159, "chroot": 161, "acct": 163, "settimeofday": 164, "umount2": 166,
        "swapon": 167, "swapoff": 168, "reboot": 169, "sethostname": 170, "setdomainname": 171, "iopl": 172,
        "ioperm": 173, "init_module": 175, "delete_module": 176, "quotactl": 179, "setxattr": 188, "lsetxattr": 189,
        "clock_settime": 227, "utimes": 235, "mq_open": 240, "kexec_load": 246, "request_key": 249,
        "inotify_init": 253, "migrate_pages": 256, "fchownat": 260, "futimesat": 261, "move_pages": 279,
        "utimensat": 280, "inotify_init1": 294, "rt_tgsigqueueinfo": 297, "fanotify_init": 300,
        "name_to_handle_at": 303, "open_by_handle_at": 304, "clock_adjtime": 305, "kcmp": 312, "finit_module": 313,
        "kexec_file_load": 320,
    }
)  # fmt: skip
_AARCH64[1].update(
    {
        "setxattr": 5, "lsetxattr": 6, "inotify_init1": 26, "umount2": 39, "pivot_root": 41, "chroot": 51,
        "fchownat": 54, "quotactl": 60, "utimensat": 88, "acct": 89, "kexec_load": 104, "init_module": 105,
        "delete_module": 106, "clock_settime": 112, "syslog": 116, "rt_sigqueueinfo": 138, "reboot": 142,
        "sethostname": 161, "setdomainname": 162, "settimeofday": 170, "adjtimex": 171, "mq_open": 180, "msgget": 186,
        "semget": 190, "shmat": 196, "request_key": 218, "swapon": 224, "swapoff": 225, "migrate_pages": 238,
        "move_pages": 239, "rt_tgsigqueueinfo": 240, "fanotify_init": 262, "name_to_handle_at": 264,
        "open_by_handle_at": 265, "clock_adjtime": 266, "kcmp": 272, "finit_module": 273, "kexec_file_load": 294,
    }
)  # fmt: skip
for _machine in (_X86_64, _AARCH64):  # calls so new that they have one number everywhere
    _machine[1].update(
        {
            "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429, "fsopen": 430,
            "fsconfig": 431, "fsmount": 432, "fspick": 433, "process_madvise": 440, "mount_setattr": 442,
            "process_mrelease": 448, "fchmodat2": 452,
        }
    )  # fmt: skip
_MACHINES = {"x86_64": _X86_64, "aarch64": _AARCH64}


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def install() -> bool:
    """Filter this process (which has one thread) for good. Returns False where the kernel or machine cannot."""
    machine = _MACHINES.get(os.uname().machine)
    if machine is None:
        return False
    code = _assemble(*machine, own_pid=os.getpid())
    program = _Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.prctl(PR_SET_SECCOMP, MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def _assemble(architecture: int, refused: dict[str, int], judged: dict[str, int], *, own_pid: int) -> bytes:
    """Return classic BPF. Four calls are judged by an argument, so that threads and abort() go on working."""
    load, equal, any_bit, give = 0x20, 0x15, 0x45, 0x06
    refuse = REFUSE | errno.EACCES
    code = [
        (load, 0, 0, ARCHITECTURE_AT),
        (equal, 1, 0, architecture),
        (give, 0, 0, KILL),
        (load, 0, 0, NUMBER_AT),
    ]
    if architecture == _X86_64[0]:
        # The x32 call numbers would walk around the list.
        code += [(0x35, 0, 1, 0x40000000), (give, 0, 0, KILL)]
    for number in sorted(refused.values()):
        code += [(equal, 0, 1, number), (give, 0, 0, refuse)]
    # glibc falls back to clone(), whose flags a filter can read.
    code += [(equal, 0, 1, judged["clone3"]), (give, 0, 0, REFUSE | errno.ENOSYS)]
    code += [(equal, 0, 4, judged["clone"]), (load, 0, 0, ARGUMENTS_AT), (any_bit, 1, 0, CLONE_VM)]
    code += [(give, 0, 0, refuse), (give, 0, 0, ALLOW)]
    for name, wanted in (("tgkill", own_pid), ("prlimit64", 0)):
        code += [(equal, 0, 4, judged[name]), (load, 0, 0, ARGUMENTS_AT), (equal, 1, 0, wanted)]
        code += [(give, 0, 0, refuse), (give, 0, 0, ALLOW)]
    code.append((give, 0, 0, ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
