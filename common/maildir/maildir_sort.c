/*
 * maildir_sort.c - messages in their order.
 *
 * In place: qsort(3) would need an array of its own to sort, and keeps one
 * array, not two, in step. Quicksort, and heapsort where it goes wrong.
 */
#include "maildir/maildir_sort.h"

#include <string.h>

/* So few are sorted by insertion. */
#define FEW 16

static bool
comes_before(const struct maildir_index *index, size_t a, size_t b)
{
	int64_t time_a = index->files[a].mtime;
	int64_t time_b = index->files[b].mtime;

	if (time_a != time_b)
		return time_a < time_b;
	/* By base name and folder, which stay when flags change: so numbers
	 * stay, too. */
	int order = slice_compare(maildir_file_base(index, a),
	    maildir_file_base(index, b));
	if (order == 0)
		order = slice_compare(maildir_file_folder(index, a),
		    maildir_file_folder(index, b));
	/* Twins. */
	if (order == 0 && index->files[a].digested &&
	    index->files[b].digested)
		order = memcmp(maildir_index_digest(index, a),
		    maildir_index_digest(index, b), MAILDIR_DIGEST_SIZE);
	return order < 0;
}

static void
swap(struct maildir_index *index, size_t a, size_t b)
{
	struct maildir_file file = index->files[a];
	struct message message = index->messages[a];

	index->files[a] = index->files[b];
	index->messages[a] = index->messages[b];
	index->files[b] = file;
	index->messages[b] = message;
}

static void
sift_down(struct maildir_index *index, size_t low, size_t root, size_t n)
{
	for (;;) {
		size_t child = 2 * root + 1;

		if (child >= n)
			return;
		if (child + 1 < n &&
		    comes_before(index, low + child, low + child + 1))
			child++;
		if (!comes_before(index, low + root, low + child))
			return;
		swap(index, low + root, low + child);
		root = child;
	}
}

static void
sort_heap(struct maildir_index *index, size_t low, size_t n)
{
	for (size_t i = n / 2; i-- > 0;)
		sift_down(index, low, i, n);
	for (size_t i = n; i-- > 1;) {
		swap(index, low, low + i);
		sift_down(index, low, 0, i);
	}
}

/* The median of the first, the middle and the last one to the front. */
static void
choose_pivot(struct maildir_index *index, size_t low, size_t n)
{
	size_t middle = low + n / 2;
	size_t last = low + n - 1;

	if (comes_before(index, middle, low))
		swap(index, middle, low);
	if (comes_before(index, last, middle)) {
		swap(index, last, middle);
		if (comes_before(index, middle, low))
			swap(index, middle, low);
	}
	swap(index, low, middle);
}

/* What is less than the one at low goes before it, the rest behind it;
 * returns where it stands now. */
static size_t
partition(struct maildir_index *index, size_t low, size_t n)
{
	size_t last = low + n - 1;
	size_t left = low;
	size_t right = low + n;

	for (;;) {
		do
			left++;
		while (left < last && comes_before(index, left, low));
		do
			right--;
		while (comes_before(index, low, right));
		if (left >= right)
			break;
		swap(index, left, right);
	}
	swap(index, low, right);
	return right;
}

static void
sort(struct maildir_index *index, size_t low, size_t n, unsigned depth)
{
	while (n > FEW) {
		if (depth-- == 0) {
			sort_heap(index, low, n);
			return;
		}
		choose_pivot(index, low, n);
		size_t pivot = partition(index, low, n);
		/* The smaller part by recursion: depth stays small. */
		size_t smaller = pivot - low;
		size_t larger = low + n - 1 - pivot;
		if (smaller < larger) {
			sort(index, low, smaller, depth);
			low = pivot + 1;
			n = larger;
		} else {
			sort(index, pivot + 1, larger, depth);
			n = smaller;
		}
	}
	for (size_t i = low + 1; i < low + n; i++)
		for (size_t k = i; k > low && comes_before(index, k, k - 1);
		    k--)
			swap(index, k, k - 1);
}

static bool
is_sorted(const struct maildir_index *index)
{
	for (size_t i = 1; i < index->n; i++)
		if (comes_before(index, i, i - 1))
			return false;
	return true;
}

void
maildir_sort(struct maildir_index *index)
{
	unsigned depth = 0;

	for (size_t n = index->n; n > 0; n /= 2)
		depth += 2;
	if (!is_sorted(index))
		sort(index, 0, index->n, depth);
}
