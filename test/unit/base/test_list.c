/* Intrusive list. */
#include "vectors.h"

#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct item {
    int value;
    struct list link;
};

static int value_of(struct list *link)
{
    return CONTAINER_OF(link, struct item, link)->value;
}

static void test_order_and_removal(void **state)
{
    struct item items[5];
    struct list head;
    struct list *it;
    struct list *tmp;
    int expected = 0;

    (void)state;
    list_init(&head);
    assert_true(list_is_empty(&head));
    assert_null(list_first(&head));
    for (int i = 0; i < 5; i++) {
        items[i].value = i;
        list_push(&head, &items[i].link);
    }
    LIST_EACH(&head, it, tmp)
    {
        assert_int_equal(value_of(it), expected++);
    }
    assert_int_equal(expected, 5);
    LIST_EACH(&head, it, tmp)
    {
        if (value_of(it) % 2 == 0) {
            list_remove(it);
        }
    }
    assert_int_equal(value_of(list_first(&head)), 1);
    assert_int_equal(value_of(list_first(&head)->next), 3);
    list_remove(&items[1].link);
    list_remove(&items[1].link); /* harmless */
    list_remove(&items[3].link);
    assert_true(list_is_empty(&head));
    assert_true(list_is_empty(&items[3].link));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_order_and_removal)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
