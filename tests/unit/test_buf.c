/*
 * test_buf.c - the byte queue, by hand and against a plain model.
 */
#include "drive.h"

#include "base/buf.h"

static void
test_by_hand(void **state)
{
	struct guarded storage;
	struct buf buf;
	size_t room;

	(void)state;
	guarded_new(&storage, 8);
	buf_init(&buf, storage.data, 8);
	assert_int_equal(buf_contents(&buf).len, 0);
	assert_int_equal(buf_room(&buf), 8);

	/* Exactly full, one too many, nothing at all. */
	assert_true(buf_append(&buf, SLICE("abcdefgh")));
	assert_int_equal(buf_room(&buf), 0);
	assert_false(buf_append(&buf, SLICE("i")));
	assert_true(buf_append(&buf, SLICE("")));
	assert_true(buf_append(&buf, slice_from(NULL)));
	assert_slice(buf_contents(&buf), "abcdefgh");

	/* Consuming moves nothing: slices stay good. */
	struct slice before = buf_contents(&buf);
	buf_consume(&buf, 3);
	assert_slice(before, "abcdefgh");
	assert_slice(buf_contents(&buf), "defgh");
	assert_ptr_equal(buf_contents(&buf).data, before.data + 3);
	assert_int_equal(buf_room(&buf), 3);

	/* What does not fit leaves it as it was. */
	assert_false(buf_append(&buf, SLICE("1234")));
	assert_slice(buf_contents(&buf), "defgh");
	assert_true(buf_append(&buf, SLICE("123")));
	assert_slice(buf_contents(&buf), "defgh123");

	/* Reserve gives all the room in one piece. */
	buf_consume(&buf, 6);
	char *at = buf_reserve(&buf, &room);
	assert_int_equal(room, 6);
	assert_ptr_equal(at, storage.data + 2);
	assert_slice(buf_contents(&buf), "23");
	memcpy(at, "xyz", 3);
	assert_slice(buf_contents(&buf), "23");
	buf_commit(&buf, 3);
	assert_slice(buf_contents(&buf), "23xyz");
	buf_commit(&buf, 0);
	buf_reserve(&buf, &room);
	assert_int_equal(room, 3);

	buf_consume(&buf, 5);
	assert_int_equal(buf_contents(&buf).len, 0);
	assert_int_equal(buf_room(&buf), 8);
	guarded_free(&storage);
}

static void
test_wipe(void **state)
{
	struct guarded storage;
	struct buf buf;

	(void)state;
	guarded_new(&storage, 16);
	buf_init(&buf, storage.data, 16);
	buf_append(&buf, SLICE("secret and more"));
	buf_consume(&buf, 10);
	buf_wipe(&buf);
	assert_int_equal(buf_contents(&buf).len, 0);
	assert_int_equal(buf_room(&buf), 16);
	/* All of the storage, what was consumed and what never was used. */
	assert_memory_equal(storage.data, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
	    16);
	guarded_free(&storage);
}

/* An empty storage is a queue that is always full. */
static void
test_no_storage(void **state)
{
	struct buf buf;
	size_t room = 1;

	(void)state;
	buf_init(&buf, NULL, 0);
	assert_int_equal(buf_room(&buf), 0);
	assert_true(buf_append(&buf, slice_from(NULL)));
	assert_false(buf_append(&buf, SLICE("a")));
	buf_reserve(&buf, &room);
	assert_int_equal(room, 0);
}

/* Anything in any order, against a queue that shifts one array. */
static void
test_against_model(void **state)
{
	uint64_t seed = 1;

	(void)state;
	for (size_t size = 1; size <= 40; size += 3) {
		struct guarded storage;
		struct buf buf;
		char model[40];
		size_t len = 0;

		guarded_new(&storage, size);
		buf_init(&buf, storage.data, size);
		for (unsigned i = 0; i < 4000; i++) {
			char octets[48];
			size_t n = chance(&seed, (uint32_t)size + 4);
			size_t room;

			for (size_t k = 0; k < n; k++)
				octets[k] = (char)chance(&seed, 256);
			switch (chance(&seed, 3)) {
			case 0: {
				bool fits = n <= size - len;

				assert_int_equal(buf_append(&buf,
				    (struct slice){ octets, n }), fits);
				if (!fits)
					break;
				memcpy(model + len, octets, n);
				len += n;
				break;
			}
			case 1: {
				char *at = buf_reserve(&buf, &room);

				assert_int_equal(room, size - len);
				if (n > room)
					n = room;
				memcpy(at, octets, n);
				buf_commit(&buf, n);
				memcpy(model + len, octets, n);
				len += n;
				break;
			}
			default:
				if (n > len)
					n = len;
				buf_consume(&buf, n);
				len -= n;
				memmove(model, model + n, len);
			}
			assert_int_equal(buf_room(&buf), size - len);
			assert_slices(buf_contents(&buf),
			    ((struct slice){ model, len }));
		}
		guarded_free(&storage);
	}
}

/* What is kept stands behind the queue, whatever passes through that. */
static void
test_keep(void **state)
{
	struct guarded storage;
	struct buf buf;

	(void)state;
	guarded_new(&storage, 8);
	buf_init(&buf, storage.data, 8);
	assert_true(buf_append(&buf, SLICE("abcdef")));
	assert_null(buf_keep(&buf, SLICE("xyz")));
	assert_int_equal(buf_room(&buf), 2);
	buf_consume(&buf, 2);
	const char *kept = buf_keep(&buf, SLICE("xyz"));
	assert_ptr_equal(kept, storage.data + 5);
	assert_slice(buf_contents(&buf), "cdef");
	assert_int_equal(buf_room(&buf), 1);
	assert_true(buf_append(&buf, SLICE("g")));
	assert_false(buf_append(&buf, SLICE("h")));
	assert_memory_equal(kept, "xyz", 3);

	/* Another takes its place. */
	buf_consume(&buf, 4);
	kept = buf_keep(&buf, SLICE("1234567"));
	assert_memory_equal(kept, "1234567", 7);
	assert_slice(buf_contents(&buf), "g");
	buf_forget(&buf);
	assert_int_equal(buf_room(&buf), 7);
	assert_memory_equal(storage.data, "g\0\0\0\0\0\0\0", 8);
	buf_keep(&buf, SLICE("xyz"));
	buf_wipe(&buf);
	assert_memory_equal(storage.data, "\0\0\0\0\0\0\0\0", 8);
	assert_int_equal(buf_room(&buf), 8);
	guarded_free(&storage);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_by_hand),
		cmocka_unit_test(test_keep),
		cmocka_unit_test(test_wipe),
		cmocka_unit_test(test_no_storage),
		cmocka_unit_test(test_against_model),
	};

	return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
