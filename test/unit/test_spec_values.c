/* Which values are refused, with which words, and which odd ones are not. */
#include "test.h"

#include <errno.h>

#include "base/log.h"
#include "specs.h"

/* Parses {minimal document + process + linux + top}; the message of the error, "" for none. */
static const char *message(const char *process, const char *linux_, const char *top, struct err *e)
{
	_free_ char *quoted =
	    mem_printf("{'ociVersion':'1.0.2','root':{'path':'r'},"
		       "'process':{'cwd':'/','args':['a']%s%s},"
		       "'linux':{%s}%s%s}",
		       *process ? "," : "", process, linux_, *top ? "," : "", top);
	_free_ char *text = specs_quote(quoted);
	_spec_ struct spec *s = NULL;

	*e = (struct err){0};
	spec_parse(text, strlen(text), "/b", &s, e);
	assert_int_equal(!s, e->rc != 0);
	return e->msg;
}

/* clang-format off */
static const struct {
	const char *process, *linux_, *top, *message;
} refused[] = {
	/* types */
	{"'terminal':1", "", "", "process.terminal: expected a boolean, got a number"},
	{"'env':{}", "", "", "process.env: expected a list, got an object"},
	{"'env':['A=1',2]", "", "", "process.env[1]: expected a string, got a number"},
	{"'user':{'uid':-1}", "", "", "process.user.uid: out of range: 0 to 4294967295"},
	{"'user':{'uid':4294967296}", "", "", "process.user.uid: out of range"},
	{"'user':{'uid':18446744073709551615}", "", "", "process.user.uid: out of range"},
	{"'user':{'uid':1.5}", "", "", "process.user.uid: expected a number, got a fraction"},
	{"'user':{'uid':'1'}", "", "", "process.user.uid: expected a number, got a string"},
	{"'user':{'umask':512}", "", "", "process.user.umask: out of range: 0 to 511"},
	{"'user':{'additionalGids':[1,null]}", "", "", "additionalGids[1]: expected a number, got null"},
	{"", "'resources':{'memory':{'limit':'1g'}}", "",
	 "config.json: linux.resources.memory.limit: expected a number, got a string"},
	{"", "'resources':{'memory':{'limit':9223372036854775808}}", "", "memory.limit: out of range"},
	{"", "'resources':{'pids':[]}", "", "linux.resources.pids: expected an object, got a list"},
	{"", "", "'annotations':{'a':true}", "annotations.a: expected a string, got a boolean"},
	{"", "", "'annotations':{'':'x'}", "annotations: an empty key"},
	{"", "", "'mounts':[7]", "mounts[0]: expected an object, got a number"},
	/* process; the last of two equal keys counts */
	{"'cwd':''", "", "", "process.cwd: '' is not an absolute path"},
	{"'cwd':'x'", "", "", "process.cwd: 'x' is not an absolute path"},
	{"'args':[]", "", "", "process.args: must not be empty"},
	{"'args':null", "", "", "process.args: missing"},
	{"'env':['A']", "", "", "process.env[0]: 'A' is not of the form NAME=VALUE"},
	{"'env':['B=','=A']", "", "", "process.env[1]: '=A'"},
	{"'rlimits':[{'type':'RLIMIT_X','soft':1,'hard':1}]", "", "", "rlimits[0].type: unknown value 'RLIMIT_X'"},
	{"'rlimits':[{'type':'RLIMIT_CORE','soft':1}]", "", "", "rlimits[0].hard: missing"},
	{"'rlimits':[{'type':'RLIMIT_CORE','soft':2,'hard':1}]", "", "", "rlimits[0].soft: is above the hard limit"},
	{"'rlimits':[{'type':'RLIMIT_CORE','soft':18446744073709551616,'hard':1}]", "", "", "rlimits[0].soft: expected"},
	{"'rlimits':[{'type':'RLIMIT_CORE','soft':1,'hard':1},{'type':'RLIMIT_CORE','soft':1,'hard':1}]", "", "",
	 "rlimits: elements 0 and 1 have the same type"},
	{"'capabilities':{'bounding':[1]}", "", "", "capabilities.bounding[0]: expected the name"},
	{"'capabilities':[]", "", "", "capabilities: expected an object"},
	{"'oomScoreAdj':1001", "", "", "oomScoreAdj: out of range: -1000 to 1000"},
	{"'scheduler':{}", "", "", "scheduler.policy: missing"},
	{"'scheduler':{'policy':'SCHED_X'}", "", "", "scheduler.policy: unknown value"},
	{"'scheduler':{'policy':'SCHED_OTHER','nice':20}", "", "", "scheduler.nice: out of range"},
	{"'scheduler':{'policy':'SCHED_OTHER','priority':1}", "", "", "scheduler.priority: only"},
	{"'scheduler':{'policy':'SCHED_FIFO','runtime':1}", "", "", "belong to SCHED_DEADLINE"},
	{"'scheduler':{'policy':'SCHED_FIFO','flags':['x']}", "", "", "scheduler.flags[0]: unknown value 'x'"},
	{"'ioPriority':{'class':'IOPRIO_CLASS_RT','priority':8}", "", "", "ioPriority.priority: out of range: 0 to 7"},
	{"'ioPriority':{'class':'X','priority':1}", "", "", "ioPriority.class: unknown value 'X'"},
	{"'ioPriority':{'priority':1}", "", "", "ioPriority.class: missing"},
	{"'execCPUAffinity':{'initial':'3-1'}", "", "", "execCPUAffinity.initial: '3-1' is no CPU list"},
	{"'execCPUAffinity':{'final':'1,'}", "", "", "execCPUAffinity.final: '1,' is no CPU list"},
	{"'execCPUAffinity':{'final':'65536'}", "", "", "is no CPU list"},
	{"'execCPUAffinity':{'final':' 1'}", "", "", "is no CPU list"},
	/* mounts and hooks */
	{"", "", "'mounts':[{'type':'tmpfs'}]", "mounts[0].destination: missing"},
	{"", "", "'mounts':[{'destination':'','type':'tmpfs'}]", "mounts[0].destination: must not be empty"},
	{"", "", "'mounts':[{'destination':'/a'}]", "mounts[0].type: missing"},
	{"", "", "'mounts':[{'destination':'/a','options':['bind']}]", "mounts[0].source: missing"},
	{"", "", "'mounts':[{'destination':'/a','source':'/b','options':['bind','mode=1']}]",
	 "mounts[0].options: 'mode=1' cannot apply to a bind mount"},
	{"", "", "'mounts':[{'destination':'/a','type':'tmpfs','options':['idmap']}]", "only bind mounts can be id-mapped"},
	{"", "", "'mounts':[{'destination':'/a','source':'/b','options':['bind','idmap']}]",
	 "mounts[0]: idmap needs uidMappings and gidMappings, or a user namespace"},
	{"", "", "'mounts':[{'destination':'/a','source':'/b','options':['bind'],'uidMappings':"
		 "[{'containerID':0,'hostID':0,'size':1}]}]", "uidMappings and gidMappings need each other"},
	{"", "", "'hooks':{'poststop':[{'path':'x'}]}", "hooks.poststop[0].path: 'x' is not an absolute path"},
	{"", "", "'hooks':{'prestart':[{'path':'/x','timeout':0}]}", "hooks.prestart[0].timeout: out of range: 1 to"},
	{"", "", "'hooks':{'prestart':[{}]}", "hooks.prestart[0].path: missing"},
	/* namespaces */
	{"", "'namespaces':[{'type':'pid'},{'type':'pid'}]", "", "linux.namespaces[1].type: 'pid' is given twice"},
	{"", "'namespaces':[{'type':'net'}]", "", "namespaces[0].type: unknown namespace 'net'"},
	{"", "'namespaces':[{}]", "", "namespaces[0].type: missing"},
	{"", "'namespaces':[{'type':'pid','path':'proc/1/ns/pid'}]", "", "namespaces[0].path: 'proc/1/ns/pid' is not"},
	{"", "", "'hostname':'x'", "config.json: hostname: needs a uts namespace"},
	{"", "", "'domainname':'x'", "domainname: needs a uts namespace"},
	{"", "'maskedPaths':['/x']", "", "linux.maskedPaths: needs a mount namespace"},
	{"", "'readonlyPaths':['/x']", "", "linux.readonlyPaths: needs a mount namespace"},
	{"", "'netDevices':{'eth0':{}}", "", "linux.netDevices: needs a network namespace"},
	{"", "'netDevices':{'a/b':{}},'namespaces':[{'type':'network'}]", "", "netDevices.a/b: not the name"},
	{"", "'netDevices':{'a':{'name':'1234567890123456'}},'namespaces':[{'type':'network'}]", "", "not the name"},
	{"", "'uidMappings':[{'containerID':0,'hostID':0,'size':1}]", "", "linux.uidMappings: needs a user namespace"},
	{"", "'namespaces':[{'type':'user'}]", "", "linux.uidMappings: missing"},
	{"", "'namespaces':[{'type':'user'}],'uidMappings':[{'containerID':0,'hostID':0,'size':1}]", "",
	 "linux.gidMappings: missing"},
	{"", "'namespaces':[{'type':'user'}],'uidMappings':[{'containerID':0,'hostID':0,'size':0}]", "",
	 "uidMappings[0].size: out of range: 1 to"},
	{"", "'uidMappings':[{'containerID':2,'hostID':0,'size':4294967294}]", "", "ends beyond the last id"},
	{"", "'uidMappings':[{'hostID':0,'size':1}]", "", "uidMappings[0].containerID: missing"},
	{"", "'timeOffsets':{'boottime':{}}", "", "linux.timeOffsets: needs a new time namespace"},
	{"", "'timeOffsets':{'boottime':{}},'namespaces':[{'type':'time','path':'/p'}]", "", "needs a new time namespace"},
	{"", "'timeOffsets':{'tai':{}}", "", "linux.timeOffsets.tai: unknown clock"},
	{"", "'timeOffsets':{'monotonic':{'nanosecs':1000000000}}", "", "nanosecs: out of range"},
	/* sysctl */
	{"", "'sysctl':{'net.core.somaxconn':'1'}", "", "sysctl.net/core/somaxconn: needs a network namespace"},
	{"", "'sysctl':{'kernel.sem':'1'}", "", "needs a ipc namespace"},
	{"", "'sysctl':{'fs.mqueue.msg_max':'1'}", "", "needs a ipc namespace"},
	{"", "'sysctl':{'user.max_user_namespaces':'1'}", "", "needs a user namespace"},
	{"", "'sysctl':{'kernel.domainname':'1'}", "", "needs a uts namespace"},
	{"", "'sysctl':{'kernel.hostname':'1'},'namespaces':[{'type':'uts'}]", "", "conflicts with the field hostname"},
	{"", "'sysctl':{'kernel.semx':'1'},'namespaces':[{'type':'ipc'}]", "", "is not in a namespace of the container"},
	{"", "'sysctl':{'kernel.core_pattern':'1'}", "", "is not in a namespace of the container"},
	{"", "'sysctl':{'net/../kernel/core_pattern':'1'},'namespaces':[{'type':'network'}]", "", "is malformed"},
	{"", "'sysctl':{'net.//.kernel.core_pattern':'1'},'namespaces':[{'type':'network'}]", "", "is malformed"},
	{"", "'sysctl':{'net/./x':'1'},'namespaces':[{'type':'network'}]", "", "is malformed"},
	{"", "'sysctl':{'net/':'1'},'namespaces':[{'type':'network'}]", "", "is malformed"},
	{"", "'sysctl':{'/net/x':'1'},'namespaces':[{'type':'network'}]", "", "is malformed"},
	{"", "'sysctl':{'net.x':1}", "", "sysctl.net.x: expected a string"},
	/* the rest of linux */
	{"", "'devices':[{'type':'x','path':'/d'}]", "", "devices[0].type: unknown value 'x'"},
	{"", "'devices':[{'type':'c','path':'d','major':1,'minor':1}]", "", "devices[0].path: 'd' is not"},
	{"", "'devices':[{'type':'c','path':'/d','major':1}]", "", "devices[0].minor: missing"},
	{"", "'devices':[{'type':'c','path':'/d','major':4096,'minor':1}]", "", "devices[0].major: out of range"},
	{"", "'rootfsPropagation':'x'", "", "linux.rootfsPropagation: unknown value 'x'"},
	{"", "'personality':{'domain':'BSD'}", "", "linux.personality.domain: unknown value"},
	{"", "'memoryPolicy':{'mode':'MPOL_X'}", "", "memoryPolicy.mode: unknown value"},
	{"", "'memoryPolicy':{'mode':'MPOL_BIND'}", "", "memoryPolicy.nodes: the mode needs at least one"},
	{"", "'memoryPolicy':{'mode':'MPOL_LOCAL','nodes':'0'}", "", "memoryPolicy.nodes: the mode takes none"},
	{"", "'memoryPolicy':{'mode':'MPOL_BIND','nodes':'x'}", "", "is no list of nodes"},
	{"", "'memoryPolicy':{'mode':'MPOL_BIND','nodes':'0','flags':['x']}", "", "memoryPolicy.flags[0]: unknown"},
	/* resources */
	{"", "'resources':{'devices':[{'allow':true}]}", "", "resources.devices[0].access: missing"},
	{"", "'resources':{'devices':[{'allow':true,'access':''}]}", "", "devices[0].access: expected a combination"},
	{"", "'resources':{'devices':[{'allow':true,'access':'rx'}]}", "", "devices[0].access: expected a combination"},
	{"", "'resources':{'devices':[{'type':'p','access':'r'}]}", "", "devices[0].type: unknown value 'p'"},
	{"", "'resources':{'hugepageLimits':[{'pageSize':'2MB/x','limit':1}]}", "", "pageSize: '2MB/x' is not of the form"},
	{"", "'resources':{'hugepageLimits':[{'pageSize':'02MB','limit':1}]}", "", "is not of the form"},
	{"", "'resources':{'hugepageLimits':[{'pageSize':'2MB'}]}", "", "hugepageLimits[0].limit: missing"},
	{"", "'resources':{'blockIO':{'weight':65536}}", "", "blockIO.weight: out of range: 0 to 65535"},
	{"", "'resources':{'blockIO':{'weightDevice':[{'major':1,'minor':1}]}}", "", "needs weight or leafWeight"},
	{"", "'resources':{'blockIO':{'throttleReadBpsDevice':[{'major':1,'minor':1}]}}", "", "rate: missing"},
	{"", "'resources':{'blockIO':{'throttleReadBpsDevice':[{'major':-1,'minor':1,'rate':1}]}}", "", "major: out of range"},
	{"", "'resources':{'network':{'priorities':[{'name':'a'}]}}", "", "priorities[0].priority: missing"},
	{"", "'resources':{'rdma':{'x':{}}}", "", "rdma.x: needs hcaHandles or hcaObjects"},
	{"", "'resources':{'unified':{'a/b':'1'}}", "", "resources.unified: 'a/b' is not the name of a control file"},
	{"", "'resources':{'unified':{'..':'1'}}", "", "resources.unified: '..' is not"},
	{"", "'resources':{'cpu':{'burst':2,'quota':1}}", "", "resources.cpu: burst is above quota"},
	/* seccomp */
	{"", "'seccomp':{'defaultAction':5}", "", "seccomp.defaultAction: missing or no string"},
	{"", "'seccomp':{'defaultAction':'SCMP_ACT_X'}", "", "seccomp.defaultAction: unknown action"},
	{"", "'seccomp':{'syscalls':[{'names':['a'],'action':'SCMP_ACT_ALLOW'}]}", "", "seccomp.defaultAction: missing"},
	{"", "'seccomp':{'defaultAction':'SCMP_ACT_ALLOW','defaultErrnoRet':1}", "", "defaultErrnoRet: SCMP_ACT_ALLOW takes none"},
	{"", "'seccomp':{'defaultAction':'SCMP_ACT_ERRNO','defaultErrnoRet':65536}", "", "defaultErrnoRet: out of range"},
	{"", "'seccomp':{'defaultAction':'SCMP_ACT_ALLOW','architectures':['x']}", "", "architectures[0]: unknown architecture 'x'"},
	{"", "'seccomp':{'defaultAction':'SCMP_ACT_ALLOW','flags':['x']}", "", "flags[0]: unknown flag 'x'"},
	{"", "'seccomp':{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':[],'action':'SCMP_ACT_ERRNO'}]}", "",
	 "syscalls[0].names: must not be empty"},
	{"", "'seccomp':{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['a',''],'action':'SCMP_ACT_ERRNO'}]}", "",
	 "syscalls[0].names: element 1 is empty"},
	{"", "'seccomp':{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['a']}]}", "", "syscalls[0].action: missing"},
	{"", "'seccomp':{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['a'],'action':'SCMP_ACT_ERRNO',"
		 "'args':[{'index':6,'value':1,'op':'SCMP_CMP_EQ'}]}]}", "", "syscalls[0].args[0].index: out of range: 0 to 5"},
	{"", "'seccomp':{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['a'],'action':'SCMP_ACT_ERRNO',"
		 "'args':[{'index':0,'value':1,'op':'EQ'}]}]}", "", "args[0].op: unknown operator 'EQ'"},
	{"", "'seccomp':{'defaultAction':'SCMP_ACT_ALLOW','listenerMetadata':'x'}", "", "listenerMetadata: must not be given"},
	{"", "'seccomp':{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['a'],'action':'SCMP_ACT_NOTIFY'}]}", "",
	 "seccomp.listenerPath: missing"},
};
/* clang-format on */

static void refusals(void **state)
{
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		message(refused[i].process, refused[i].linux_, refused[i].top, &e);
		if (!strstr(e.msg, refused[i].message) || e.rc != -EINVAL ||
		    e.code != ERR_SPEC_VALUE)
			fail_msg("row %zu: expected '%s', got %d '%s'", i, refused[i].message, e.rc,
				 e.msg);
	}
}

static void acceptances(void **state)
{
	static const struct {
		const char *process, *linux_, *top;
	} rows[] = {
	    /* null and "" are how Go says "not given" */
	    {"'env':null,'rlimits':null,'capabilities':null", "'resources':null,'seccomp':null",
	     ""},
	    {"", "", "'hostname':'','mounts':null,'hooks':null,'annotations':null"},
	    {"", "'uidMappings':[],'maskedPaths':[],'timeOffsets':{},'seccomp':{}", ""},
	    {"", "'intelRdt':null,'cgroupsPath':'','rootfsPropagation':''", ""},
	    {"",
	     "'resources':{'devices':[{'type':'','access':'r'}]},'seccomp':{'defaultAction':''}",
	     ""},
	    /* containerd and CRI-O write mappings beside a path */
	    {"",
	     "'namespaces':[{'type':'user','path':'/proc/1/ns/user'}],"
	     "'uidMappings':[{'containerID':0,'hostID':0,'size':4294967295}]",
	     ""},
	    {"'scheduler':{'policy':'SCHED_FIFO','priority':10}", "", ""},
	    {"'scheduler':{'policy':'SCHED_BATCH','nice':-20}", "", ""},
	    {"'rlimits':[{'type':'RLIMIT_CORE','soft':1,'hard':1}]", "", "'hooks':{}"},
	    {"'execCPUAffinity':{'initial':'','final':'0,2-3'}", "", ""},
	    {"", "'memoryPolicy':{'mode':'MPOL_PREFERRED'}", ""},
	    {"", "'resources':{'pids':{}},'personality':{'domain':'LINUX','flags':['x']}", ""},
	};
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (*message(rows[i].process, rows[i].linux_, rows[i].top, &e))
			fail_msg("row %zu: %s", i, e.msg);
}

static int warnings;

static void count_warnings(void *arg, enum log_level level, const char *msg)
{
	warnings += level == LOG_LVL_WARN && strstr(msg, arg);
}

static void unknown_capabilities_are_logged(void **state)
{
	struct err e;

	log_to(count_warnings, (void *)"'CAP_NEW'", LOG_LVL_WARN);
	assert_string_equal(
	    message("'capabilities':{'effective':['CAP_NEW','CAP_KILL']}", "", "", &e), "");
	log_to(NULL, NULL, LOG_LVL_WARN);
	assert_int_equal(warnings, 1);
}

int main(void)
{
	return TEST_RUN("spec_values", cmocka_unit_test(refusals), cmocka_unit_test(acceptances),
			cmocka_unit_test(unknown_capabilities_are_logged));
}
