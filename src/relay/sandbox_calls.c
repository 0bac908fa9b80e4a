#include "relay/sandbox.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define CALL(name)                                                                                           \
    {                                                                                                        \
#name, SCMP_SYS(name)                                                                                \
    }

/*
 * A list of what is forbidden, not of what is allowed: what a C library needs changes from release to
 * release, and a relay that stops at a new one's call helps nobody. Numbers that this architecture does not
 * have are left out.
 */
/* clang-format off */
const struct sandbox_call sandbox_calls[] = {
    /* Programs and processes; clone is told by its flags. */
    CALL(execve), CALL(execveat),
#ifndef SANDBOX_LEAKS /* what looks for leaks at the end does this */
    CALL(fork), CALL(vfork),
#endif
    /* Other processes. */
    CALL(process_vm_readv), CALL(process_vm_writev), CALL(process_madvise), CALL(pidfd_open),
    CALL(pidfd_getfd), CALL(pidfd_send_signal), CALL(kill), CALL(tkill), CALL(rt_sigqueueinfo),
    CALL(rt_tgsigqueueinfo), CALL(kcmp), CALL(setpgid), CALL(setsid), CALL(setpriority), CALL(ioprio_set),
    CALL(sched_setaffinity), CALL(sched_setattr), CALL(sched_setparam), CALL(sched_setscheduler),
#ifndef SANDBOX_LEAKS /* what looks for leaks at the end does this */
    CALL(ptrace),
#endif
    /* Who we are. */
    CALL(setuid), CALL(setgid), CALL(setreuid), CALL(setregid), CALL(setresuid), CALL(setresgid),
    CALL(setfsuid), CALL(setfsgid), CALL(setgroups), CALL(capset),
    /* Names in the file system, and what files are like: a relay reads some and appends to others. */
    CALL(chroot), CALL(link), CALL(linkat), CALL(symlink), CALL(symlinkat), CALL(rename), CALL(renameat),
    CALL(renameat2), CALL(unlink), CALL(unlinkat), CALL(mkdir), CALL(mkdirat), CALL(rmdir), CALL(mknod),
    CALL(mknodat), CALL(chmod), CALL(fchmod), CALL(fchmodat), CALL(chown), CALL(fchown), CALL(lchown),
    CALL(fchownat), CALL(truncate), CALL(ftruncate), CALL(utime), CALL(utimes), CALL(utimensat),
    CALL(futimesat), CALL(setxattr), CALL(lsetxattr), CALL(fsetxattr), CALL(removexattr), CALL(lremovexattr),
    CALL(fremovexattr), CALL(name_to_handle_at), CALL(open_by_handle_at), CALL(fanotify_init), CALL(quotactl),
    CALL(quotactl_fd), CALL(acct),
    /* Mounts and name spaces. */
    CALL(mount), CALL(umount2), CALL(pivot_root), CALL(move_mount), CALL(open_tree), CALL(fsopen),
    CALL(fsconfig), CALL(fsmount), CALL(fspick), CALL(mount_setattr), CALL(setns), CALL(unshare),
    CALL(swapon), CALL(swapoff),
    /* The kernel and the machine. */
    CALL(init_module), CALL(finit_module), CALL(delete_module), CALL(kexec_load), CALL(kexec_file_load),
    CALL(reboot), CALL(bpf), CALL(perf_event_open), CALL(userfaultfd), CALL(keyctl), CALL(add_key),
    CALL(request_key), CALL(syslog), CALL(settimeofday), CALL(clock_settime), CALL(clock_adjtime),
    CALL(adjtimex), CALL(iopl), CALL(ioperm), CALL(modify_ldt), CALL(personality), CALL(sethostname),
    CALL(setdomainname), CALL(vhangup), CALL(lookup_dcookie),
    /* What goes round such filters, or makes servers and debuggers of us. io_uring_enter is of use with the
     * ring that there is, which can only send (relay/ring.h). */
    CALL(io_uring_setup), CALL(io_uring_register), CALL(listen), CALL(memfd_create), CALL(memfd_secret),
    CALL(seccomp),
};
/* clang-format on */
const size_t sandbox_ncalls = sizeof sandbox_calls / sizeof *sandbox_calls;

#define DENY SCMP_ACT_ERRNO(EPERM)

/* clone3 says what it wants in memory, where a filter does not look; who is told that there is none uses
 * clone. */
static int deny_processes(scmp_filter_ctx filter)
{
#ifdef SANDBOX_LEAKS
    (void)filter;
    return 0;
#else
    int rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    return rc == 0 ? seccomp_rule_add(filter, DENY, SCMP_SYS(clone), 1,
                                      SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0))
                   : rc;
#endif
}

/* A signal to ourselves is how abort(3) ends. */
static int deny_signals(scmp_filter_ctx filter)
{
    return seccomp_rule_add(filter, DENY, SCMP_SYS(tgkill), 1,
                            SCMP_A0(SCMP_CMP_NE, (scmp_datum_t)getpid(), 0));
}

/* Connections to applications and to whoever knows names and takes logs; no raw packets. */
static int deny_sockets(scmp_filter_ctx filter)
{
    static const unsigned types = 0xf; /* without SOCK_NONBLOCK and SOCK_CLOEXEC */
    int rc = 0;
    for (unsigned family = 0; rc == 0 && family < AF_MAX; family++) {
        if (family != AF_UNIX && family != AF_INET && family != AF_INET6 && family != AF_NETLINK)
            rc = seccomp_rule_add(filter, DENY, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, family, 0));
        else if (family != AF_NETLINK)
            rc = seccomp_rule_add(filter, DENY, SCMP_SYS(socket), 2, SCMP_A0(SCMP_CMP_EQ, family, 0),
                                  SCMP_A1(SCMP_CMP_MASKED_EQ, types, SOCK_RAW));
    }
    return rc == 0 ? seccomp_rule_add(filter, DENY, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_GE, AF_MAX, 0))
                   : rc;
}

/* No code but that of files: memory that was written is never run. */
static int deny_code(scmp_filter_ctx filter)
{
    static const unsigned both = PROT_WRITE | PROT_EXEC;
    int rc = seccomp_rule_add(filter, DENY, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, both, both));
    if (rc == 0)
        rc = seccomp_rule_add(filter, DENY, SCMP_SYS(mprotect), 1,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
    if (rc == 0)
        rc = seccomp_rule_add(filter, DENY, SCMP_SYS(pkey_mprotect), 1,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
    return rc;
}

static int add_rules(scmp_filter_ctx filter)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sandbox_ncalls; i++) {
        if (sandbox_calls[i].number >= 0)
            rc = seccomp_rule_add(filter, DENY, sandbox_calls[i].number, 0);
    }
    if (rc == 0)
        rc = deny_processes(filter);
    if (rc == 0)
        rc = deny_signals(filter);
    if (rc == 0)
        rc = deny_sockets(filter);
    return rc == 0 ? deny_code(filter) : rc;
}

int sandbox_drop_calls(bool *missing)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (!filter)
        return -ENOMEM;
    /* Kernels before 5.16 slow down whatever has a filter, against code in it that spies on its own process.
     * There is none here. A libseccomp that does not know this has no harm. */
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE,
                     2); /* a tree: fewer steps for those that are looked at */
    seccomp_attr_set(filter, SCMP_FLTATR_API_SYSRAWRC, 1); /* the kernel's own errno */
    int rc = add_rules(filter);
    *missing = false;
    if (rc == 0) {
        rc = seccomp_load(filter);
        *missing = rc == -EINVAL || rc == -ENOSYS || rc == -EPERM || rc == -EOPNOTSUPP;
    }
    seccomp_release(filter);
    return rc;
}
