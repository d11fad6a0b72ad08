"""A system-call filter for the process that parses untrusted bytes: no network, no files, no other processes."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
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
_MACHINES = {"x86_64": _X86_64, "aarch64": _AARCH64}


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def install() -> bool:
    """Filter this process (which has one thread) for good. Returns False where the kernel or machine cannot."""
    machine = _MACHINES.get(platform.machine())
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
