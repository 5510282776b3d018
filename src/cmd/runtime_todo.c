#include "cmd/runtime.h"
int runtime_update(struct cli *c)
{
	(void)c;
	return 1;
}
int runtime_events(struct cli *c)
{
	(void)c;
	return 1;
}
int runtime_pause(struct cli *c)
{
	(void)c;
	return 1;
}
int runtime_resume(struct cli *c)
{
	(void)c;
	return 1;
}
int runtime_ps(struct cli *c)
{
	(void)c;
	return 1;
}
__attribute__((weak)) int cgroup_oom_count(const struct cgroup *cg, uint64_t *r)
{
	(void)cg;
	(void)r;
	return -1;
}
