#include "disk/paged.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"

/* Pointers to pages: of a table of 4 GiB in pages of 4 KiB. */
#define PAGES_MAX_BYTES (8u << 20)

enum page_state { CLEAN, DIRTY, WRITING };

struct paged_page {
	struct list used; /* in paged.used */
	uint64_t number;
	enum page_state state;
	uint8_t data[];
};

static unsigned pages_max(const struct paged *p)
{
	return MAX(PAGED_CACHE_BYTES / p->page_bytes, 4u);
}

int paged_init(struct paged *p)
{
	uint64_t count = (p->bytes + p->page_bytes - 1) / p->page_bytes;

	list_init(&p->used);
	if (count > PAGES_MAX_BYTES / sizeof(*p->pages))
		return -EFBIG;
	p->pages = mem_try_array(MAX(count, (uint64_t)1), sizeof(*p->pages), PAGES_MAX_BYTES);
	return p->pages ? 0 : -ENOMEM;
}

static void page_free(struct paged *p, struct paged_page *page)
{
	list_remove(&page->used);
	p->pages[page->number] = NULL;
	p->loaded--;
	free(page);
}

void paged_done(struct paged *p)
{
	if (!p->pages)
		return;
	while (!list_empty(&p->used))
		page_free(p, CONTAINER_OF(p->used.next, struct paged_page, used));
	free(p->pages);
	p->pages = NULL;
	p->dirty = 0;
}

/* Bytes of a page that belong to the table. */
static size_t page_len(const struct paged *p, uint64_t number)
{
	return MIN((uint64_t)p->page_bytes, p->bytes - number * p->page_bytes);
}

static int page_load(struct paged *p, struct paged_page *page)
{
	if (p->ops)
		return p->ops->load(p->owner, page->number, page->data);
	return disk_pread(p->file, p->offset + page->number * p->page_bytes, page->data,
			  page_len(p, page->number));
}

static int pages_store(struct paged *p, const struct paged_write *w, unsigned count)
{
	int rc = 0;

	if (p->ops)
		return p->ops->store(p->owner, w, count);
	for (; count && !rc; w++, count--)
		rc = disk_pwrite(p->file, p->offset + w->page * p->page_bytes, w->data,
				 page_len(p, w->page), 0);
	return rc;
}

/* Frees the clean page that was not used for longest; false where none is clean. */
static bool evict(struct paged *p)
{
	for (struct list *l = p->used.next; l != &p->used; l = l->next) {
		struct paged_page *page = CONTAINER_OF(l, struct paged_page, used);

		if (page->state == CLEAN) {
			page_free(p, page);
			return true;
		}
	}
	return false;
}

static int make_room(struct paged *p)
{
	while (p->loaded >= pages_max(p) && !evict(p)) {
		int rc = paged_flush(p);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* The page in memory; it stays until the caller's next wait. */
static int page_get(struct paged *p, uint64_t number, struct paged_page **ret)
{
	struct paged_page *page = p->pages[number];
	int rc = 0;

	if (!page) {
		co_lock(&p->loading);
		page = p->pages[number]; /* another may have loaded it meanwhile */
		if (!page)
			rc = make_room(p);
		if (!page && !rc) {
			page = mem_alloc(sizeof(*page) + p->page_bytes);
			page->number = number;
			list_init(&page->used);
			rc = page_load(p, page);
			if (rc < 0) {
				free(page);
			} else {
				p->pages[number] = page;
				p->loaded++;
			}
		}
		co_unlock(&p->loading);
		if (rc < 0)
			return rc;
	}
	list_remove(&page->used);
	list_push(&p->used, &page->used);
	*ret = page;
	return 0;
}

int paged_get(struct paged *p, uint64_t at, void *ret_entry, size_t len)
{
	struct paged_page *page;
	int rc = page_get(p, at / p->page_bytes, &page);

	if (rc < 0)
		return rc;
	memcpy(ret_entry, page->data + at % p->page_bytes, len);
	return 0;
}

int paged_set(struct paged *p, uint64_t at, const void *entry, size_t len)
{
	struct paged_page *page;
	int rc = page_get(p, at / p->page_bytes, &page);

	if (rc < 0)
		return rc;
	memcpy(page->data + at % p->page_bytes, entry, len);
	if (page->state != DIRTY) {
		page->state = DIRTY;
		p->dirty++;
	}
	return 0;
}

static int by_page(const void *a, const void *b)
{
	const struct paged_write *x = a, *y = b;

	return (x->page > y->page) - (x->page < y->page);
}

/* Copies of all dirty pages, in order; they count as WRITING from here. */
static struct paged_write *copy_dirty(struct paged *p, unsigned *ret_count)
{
	struct paged_write *w = mem_array(p->dirty, sizeof(*w) + p->page_bytes);
	uint8_t *copy = (uint8_t *)(w + p->dirty);
	unsigned n = 0;

	for (struct list *l = p->used.next; l != &p->used; l = l->next) {
		struct paged_page *page = CONTAINER_OF(l, struct paged_page, used);

		if (page->state != DIRTY)
			continue;
		page->state = WRITING;
		memcpy(copy, page->data, p->page_bytes);
		w[n++] = (struct paged_write){page->number, copy};
		copy += p->page_bytes;
	}
	p->dirty = 0;
	qsort(w, n, sizeof(*w), by_page);
	*ret_count = n;
	return w;
}

int paged_flush(struct paged *p)
{
	struct paged_write *w;
	unsigned n;
	int rc;

	co_lock(&p->flushing);
	if (!p->dirty) {
		co_unlock(&p->flushing);
		return 0;
	}
	w = copy_dirty(p, &n);
	rc = disk_flush(p->file);
	if (!rc)
		rc = pages_store(p, w, n);
	for (unsigned i = 0; i < n; i++) {
		struct paged_page *page = p->pages[w[i].page];

		if (page->state != WRITING)
			continue; /* changed meanwhile: dirty again */
		page->state = rc < 0 ? DIRTY : CLEAN;
		p->dirty += rc < 0;
	}
	free(w);
	co_unlock(&p->flushing);
	return rc;
}
