/* viv doctor: the devices that machines and networks use. */
#include "base/cleanup.h"
#include "base/mem.h"
#include "cmd/doctor.h"
#include "os/path.h"
#include "os/probe.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static void check_kvm(json_t *rows)
{
	char what[96];

	switch (probe_kvm(what, sizeof(what))) {
	case PROBE_KVM_RUNS:
		doctor_add(rows, VERDICT_OK, "/dev/kvm", "runs guests at full speed", NULL);
		break;
	case PROBE_KVM_UNTESTED:
		doctor_add(rows, VERDICT_OK, "/dev/kvm",
			   "makes virtual machines (not tried further)", NULL);
		break;
	case PROBE_KVM_ABSENT:
		doctor_add(rows, VERDICT_WARN, "/dev/kvm", "absent: machines run on the translator",
			   "enable virtualization in the firmware, or nested virtualization on the "
			   "outer host; "
			   "modprobe kvm_intel or kvm_amd");
		break;
	case PROBE_KVM_DENIED:
		doctor_add(rows, VERDICT_WARN, "/dev/kvm", what,
			   "add this user to the group kvm, and log in again");
		break;
	case PROBE_KVM_PRETENDS: {
		_free_ char *found =
		    mem_printf("only pretends (%s): machines run on the translator", what);

		doctor_add(rows, VERDICT_WARN, "/dev/kvm", found,
			   "enable nested virtualization on the outer host");
		break;
	}
	}
}

static void check_device(json_t *rows, const char *path, const char *use, const char *cure)
{
	_close_ int fd = path_open(AT_FDCWD, path, O_RDWR, 0);
	_free_ char *found = fd < 0 ? mem_printf("%s: no %s", strerror(-fd), use) : mem_strdup(use);

	doctor_add(rows, fd < 0 ? VERDICT_WARN : VERDICT_OK, path, found, fd < 0 ? cure : NULL);
}

void doctor_devices(json_t *rows)
{
	check_kvm(rows);
	check_device(rows, "/dev/fuse", "file systems in user space",
		     "modprobe fuse, as root; inside a container, pass the device in");
	check_device(rows, "/dev/net/tun", "networks of machines, and of users without root",
		     "modprobe tun, and chmod 666 /dev/net/tun, as root");
}
