/* The IPC parser under any bytes, any cuts and any descriptors. The input is a list of reads: a
 * byte with the number of descriptors, a byte with the length, that many bytes. Checked: the
 * bounds of every message, that the same bytes uncut give the same messages, and that no
 * descriptor leaks. */
#include <assert.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "io/ipc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct digest {
	unsigned messages, fds;
	uint64_t sum;
	int rc; /* how it ended */
};

static void take_messages(struct ipc_parser *p, struct digest *d)
{
	struct ipc_msg m;

	while ((d->rc = ipc_parser_next(p, &m)) == 1) {
		assert(m.len <= IPC_PAYLOAD_MAX && m.fd_count <= IPC_FDS_MAX);
		for (size_t i = 0; i < m.len; i++)
			d->sum = d->sum * 31 + ((const uint8_t *)m.data)[i];
		for (unsigned i = 0; i < m.fd_count; i++)
			assert(fcntl(m.fds[i], F_GETFD) >= 0);
		d->sum = d->sum * 31 + m.type + m.id + m.len;
		d->messages++;
		d->fds += m.fd_count;
		ipc_msg_done(&m);
	}
	assert(d->rc == 0 || d->rc == -EPROTO);
}

static int lowest_fd(void)
{
	int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);

	close(fd);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ipc_parser cut = {0}, whole = {0};
	struct digest a = {0}, b = {0};
	unsigned char all[65536];
	size_t total = 0;
	int before = lowest_fd();
	bool with_fds = false;

	while (size >= 2 && a.rc >= 0) {
		int fds[IPC_FDS_MAX + 4];
		size_t fd_count = data[0] % ARRAY_SIZE(fds), len = data[1];

		data += 2;
		size -= 2;
		len = len < size ? len : size;
		if (total + len > sizeof(all))
			break;
		for (size_t i = 0; i < fd_count; i++)
			fds[i] = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
		with_fds |= fd_count > 0;
		memcpy(all + total, data, len);
		total += len;
		a.rc = ipc_parser_add(&cut, data, len, fds, fd_count);
		if (!a.rc)
			take_messages(&cut, &a);
		data += len;
		size -= len;
	}
	if (!with_fds && ipc_parser_add(&whole, all, total, NULL, 0) == 0) {
		take_messages(&whole, &b);
		assert(a.messages == b.messages && a.sum == b.sum && a.rc == b.rc);
	}
	ipc_parser_done(&cut);
	ipc_parser_done(&whole);
	assert(lowest_fd() == before);
	return 0;
}
