/* The network of a fresh network namespace: the loopback interface up, and the host's interfaces
 * that the configuration hands over (config-linux.md "Network Devices") moved by rtnetlink(7). */
#include "container/start.h"
#include "base/cleanup.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

int netdev_lo_up(struct err *e)
{
	_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = {.ifr_name = "lo"};

	if (fd < 0)
		return err_sys(e, ERR_SYS, "loopback interface");
	r.ifr_flags = IFF_UP | IFF_RUNNING;
	return ioctl(fd, SIOCSIFFLAGS, &r) < 0 ? err_sys(e, ERR_SYS, "loopback interface") : 0;
}

struct request {
	struct nlmsghdr h;
	union {
		struct ifinfomsg info;
		struct ifaddrmsg a;
	};
	char attrs[256];
};

static void add_attr(struct request *r, unsigned short type, const void *data, size_t len)
{
	struct rtattr *a = (struct rtattr *)(void *)((char *)r + NLMSG_ALIGN(r->h.nlmsg_len));

	a->rta_type = type;
	a->rta_len = (unsigned short)RTA_LENGTH(len);
	memcpy(RTA_DATA(a), data, len);
	r->h.nlmsg_len = NLMSG_ALIGN(r->h.nlmsg_len) + (uint32_t)RTA_ALIGN(a->rta_len);
}

static int transact(int fd, struct nlmsghdr *h)
{
	struct {
		struct nlmsghdr h;
		struct nlmsgerr err;
		char rest[512];
	} answer;

	h->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	if (send(fd, h, h->nlmsg_len, 0) < 0 || recv(fd, &answer, sizeof(answer), 0) < 0)
		return -errno;
	return answer.h.nlmsg_type == NLMSG_ERROR ? answer.err.error : -EPROTO;
}

/* Addresses of one interface with global scope, kept over the move, which drops them. */
#define ADDRS_MAX 64
struct addrs {
	struct {
		unsigned char family, prefix_len, len;
		unsigned char bytes[16];
	} v[ADDRS_MAX];
	size_t n;
};

static int read_addrs(int fd, int index, struct addrs *ret)
{
	struct {
		struct nlmsghdr h;
		struct ifaddrmsg a;
	} q = {.h = {.nlmsg_len = sizeof(q),
		     .nlmsg_type = RTM_GETADDR,
		     .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};
	_Alignas(struct nlmsghdr) char buf[16384];

	ret->n = 0;
	if (send(fd, &q, sizeof(q), 0) < 0)
		return -errno;
	for (;;) {
		ssize_t got = recv(fd, buf, sizeof(buf), 0);

		if (got <= 0)
			return got < 0 ? -errno : -EPROTO;
		size_t left = (size_t)got;

		for (struct nlmsghdr *h = (void *)buf; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_type == NLMSG_DONE)
				return 0;
			if (h->nlmsg_type != RTM_NEWADDR)
				continue;
			struct ifaddrmsg *m = NLMSG_DATA(h);
			int attr_len = (int)IFA_PAYLOAD(h);

			if ((int)m->ifa_index != index || m->ifa_scope != RT_SCOPE_UNIVERSE ||
			    ret->n == ADDRS_MAX)
				continue;
			for (struct rtattr *a = IFA_RTA(m); RTA_OK(a, attr_len);
			     a = RTA_NEXT(a, attr_len)) {
				size_t len = RTA_PAYLOAD(a);

				if (a->rta_type !=
					(m->ifa_family == AF_INET ? IFA_LOCAL : IFA_ADDRESS) ||
				    len > 16)
					continue;
				ret->v[ret->n].family = m->ifa_family;
				ret->v[ret->n].prefix_len = m->ifa_prefixlen;
				ret->v[ret->n].len = (unsigned char)len;
				memcpy(ret->v[ret->n++].bytes, RTA_DATA(a), len);
				break;
			}
		}
	}
}

/* In the container's network namespace (the child of the move): addresses back, interface up. */
static int restore(int fd, const char *name, const struct addrs *addrs)
{
	int index = (int)if_nametoindex(name);
	int rc = index ? 0 : -ENODEV;

	for (size_t i = 0; i < addrs->n && !rc; i++) {
		struct request q = {.h = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifaddrmsg)),
					  .nlmsg_type = RTM_NEWADDR,
					  .nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL},
				    .a = {.ifa_family = addrs->v[i].family,
					  .ifa_prefixlen = addrs->v[i].prefix_len,
					  .ifa_index = (unsigned)index}};

		add_attr(&q, IFA_LOCAL, addrs->v[i].bytes, addrs->v[i].len);
		add_attr(&q, IFA_ADDRESS, addrs->v[i].bytes, addrs->v[i].len);
		rc = transact(fd, &q.h);
		rc = rc == -EEXIST ? 0 : rc;
	}
	if (rc)
		return rc;
	struct request up = {
	    .h = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)), .nlmsg_type = RTM_NEWLINK},
	    .info = {.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP}};

	return transact(fd, &up.h);
}

static int move_one(int fd, const char *name, const char *new_name, int netns_fd,
		    struct addrs *addrs)
{
	int index = (int)if_nametoindex(name);
	int rc = index ? read_addrs(fd, index, addrs) : -ENODEV;

	if (rc)
		return rc;
	/* Down first: an interface that is up cannot be renamed (rename is part of the move). */
	struct request down = {
	    .h = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)), .nlmsg_type = RTM_NEWLINK},
	    .info = {.ifi_index = index, .ifi_change = IFF_UP}};

	rc = transact(fd, &down.h);
	if (rc)
		return rc;
	struct request r = {
	    .h = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)), .nlmsg_type = RTM_NEWLINK},
	    .info = {.ifi_index = index}};

	add_attr(&r, IFLA_NET_NS_FD, &netns_fd, sizeof(netns_fd));
	add_attr(&r, IFLA_IFNAME, new_name, strlen(new_name) + 1);
	return transact(fd, &r.h);
}

/* Visits the container's namespace, because a socket belongs to the one it was made in. */
static int restore_in(int netns_fd, int here, const char *name, const struct addrs *addrs)
{
	if (setns(netns_fd, CLONE_NEWNET) < 0)
		return -errno;
	_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int rc = fd < 0 ? -errno : restore(fd, name, addrs);

	return setns(here, CLONE_NEWNET) < 0 ? -errno : rc;
}

int netdev_move(const struct spec *spec, int netns_fd, struct err *e)
{
	if (!spec->net_devices_count)
		return 0;
	_close_ int here = path_open(AT_FDCWD, "/proc/self/ns/net", O_RDONLY, 0);
	_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (here < 0 || fd < 0)
		return err_sys(e, ERR_SYS, "network devices");
	for (size_t i = 0; i < spec->net_devices_count; i++) {
		const char *name = spec->net_devices[i].key;
		const char *given = spec->net_devices[i].value;
		const char *inside = given && *given ? given : name;
		struct addrs addrs;
		int rc = move_one(fd, name, inside, netns_fd, &addrs);

		if (!rc)
			rc = restore_in(netns_fd, here, inside, &addrs);
		if (rc)
			return err_set(e, ERR_SYS, rc, "network device '%s' cannot be moved: %s",
				       name, strerror(-rc));
	}
	return 0;
}
