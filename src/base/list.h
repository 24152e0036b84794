/* Intrusive doubly linked list with a head. An element belongs to at most one list per link. */
#pragma once

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next;
    struct list *prev;
};

/* Make head an empty list, or a link that is in no list. */
static inline void list_init(struct list *head)
{
    head->next = head->prev = head;
}

/* True if the list has no element (or the link is in no list). */
static inline bool list_is_empty(const struct list *head)
{
    return head->next == head;
}

/* Append link at the end. */
static inline void list_push(struct list *head, struct list *link)
{
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

/* Unlink; harmless on a link that is in no list but was initialised. */
static inline void list_remove(struct list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

/* First element's link, or NULL. */
static inline struct list *list_first(const struct list *head)
{
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): loses sight of the unlinking before a free */
    return head->next != head ? head->next : NULL;
}

/* Walk all links; the body may remove `it`. `it` and `tmp` are struct list pointers. */
#define LIST_EACH(head, it, tmp)                                                                   \
    for ((it) = (head)->next, (tmp) = (it)->next; (it) != (head); (it) = (tmp), (tmp) = (it)->next)
