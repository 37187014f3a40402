/*
 * Lets User-Mode Linux run on CPUs with AMX: it is loaded into the kernel's process by LD_PRELOAD.
 *
 * UML 6.1 holds the extended processor state of a process in 2,696 bytes (FP_SIZE in arch/x86/um/user-offsets.c), and
 * the host takes only the whole of it, which is longer with AMX: PTRACE_SETREGSET fails with EFAULT. What UML does not
 * hold is therefore taken from the process itself.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

typedef long (*ptrace_call)(enum __ptrace_request, pid_t, void *, void *);

long ptrace(enum __ptrace_request request, ...)
{
	static ptrace_call next;
	static char whole[1 << 16]; /* a stack of the kernel's is smaller than this; the kernel is a single thread */
	struct iovec state = {whole, sizeof whole};
	va_list arguments;

	va_start(arguments, request);
	pid_t pid = va_arg(arguments, pid_t);
	void *address = va_arg(arguments, void *);
	void *data = va_arg(arguments, void *);
	va_end(arguments);

	if (!next)
		next = (ptrace_call)dlsym(RTLD_NEXT, "ptrace");
	if (request != PTRACE_SETREGSET || address != (void *)NT_X86_XSTATE)
		return next(request, pid, address, data);
	if (next(PTRACE_GETREGSET, pid, address, &state))
		return -1;
	const struct iovec *held = data;
	memcpy(whole, held->iov_base, held->iov_len < state.iov_len ? held->iov_len : state.iov_len);
	return next(PTRACE_SETREGSET, pid, address, &state);
}
