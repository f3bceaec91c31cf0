/* The values of columns: memory that grows, and the loops that fill it. _pages_columns.c says which records. */
#include "_pages_arrow.h"

#define FIRST_ROOM 1024
#define BIG ((size_t)1 << 20)
#define HIGH_BITS UINT64_C(0x8080808080808080)

void buffer_free(Buffer *buffer) { free(buffer->data); }

/*
 * Small memory doubles; big memory, which libc maps and moves without a copy, grows four times at once, since what is
 * not touched costs nothing. Why no huge pages are asked for: docs/notes/0064-memory-of-columns.md.
 */
int buffer_reserve(Buffer *buffer, size_t more)
{
    if (buffer->room - buffer->used >= more)
        return 0;
    size_t room = buffer->room ? buffer->room : FIRST_ROOM / 2;
    do
        room *= room < BIG ? 2 : 4;
    while (room - buffer->used < more);
    if (buffer->ahead)
        ahead_end(buffer->ahead);
    unsigned char *data = realloc(buffer->data, room);
    if (!data) {
        PyErr_NoMemory();
        return -1;
    }
    buffer->data = data;
    buffer->room = room;
    return 0;
}

/* Make the validity bits reach to `rows`; what is new is valid. */
int column_widen(Column *column, int64_t rows)
{
    size_t size = (size_t)(rows + 7) / 8;
    if (size <= column->validity.used)
        return 0;
    if (buffer_reserve(&column->validity, size - column->validity.used) < 0)
        return -1;
    memset(column->validity.data + column->validity.used, 0xFF, size - column->validity.used);
    column->validity.used = size;
    return 0;
}

/* Append a null, for which there is room. */
int column_null(Column *column, int64_t row)
{
    if (column_widen(column, row + 1) < 0)
        return -1;
    column->validity.data[row / 8] &= (unsigned char)~(1 << row % 8);
    column->nulls++;
    memset(column->values.data + column->values.used, 0, column->width);
    column->values.used += column->width;
    return 0;
}

/* Make room for a field of all that is gathered. */
int column_reserve(Column *column, const Gathered *gathered)
{
    size_t rows = (size_t)gathered->count;
    if (column->dictionary && dictionary_reserve(column->dictionary, gathered) < 0)
        return -1;
    if (column->width)
        return buffer_reserve(&column->values, rows * column->width);
    if (buffer_reserve(&column->offsets, 4 * rows) < 0)
        return -1;
    return buffer_reserve(&column->values, gathered->size + SLACK);
}

/* Append numbers of the column's width, for which there is room. */
void column_numbers(Column *column, const void *numbers, int count)
{
    memcpy(column->values.data + column->values.used, numbers, (size_t)count * column->width);
    column->values.used += (size_t)count * column->width;
}

/* Copy text up to its first NUL, at most SLACK bytes further; its size, or -1 if it is not all ASCII. */
static inline Py_ssize_t copy_ascii(unsigned char *to, const unsigned char *from, size_t size)
{
    size_t at = 0;
    while (at + 8 <= size || (at < size && size >= 8)) { /* the last word overlaps the one before */
        size_t left = size - at;
        uint64_t word = left >= 8 ? load_u64(from + at) : load_u64(from + size - 8) >> (64 - 8 * left);
        uint64_t nul = (word - UINT64_C(0x0101010101010101)) & ~word & HIGH_BITS;
        memcpy(to + at, &word, 8);
        if (nul) {
            size_t whole = (size_t)__builtin_ctzll(nul) >> 3;
            uint64_t kept = whole ? word << (64 - 8 * whole) : 0;
            return kept & HIGH_BITS ? -1 : (Py_ssize_t)(at + whole);
        }
        if (word & HIGH_BITS)
            return -1;
        at += 8;
    }
    for (; at < size && from[at]; at++) {
        if (from[at] & 0x80)
            return -1;
        to[at] = from[at];
    }
    return (Py_ssize_t)(at < size ? at : size);
}

/* Append text that is not all ASCII: as it is if it is UTF-8; other bytes in it become \xNN, as in a report. */
static int append_decoded(Buffer *values, Span span)
{
    Py_ssize_t size;
    PyObject *text = PyUnicode_DecodeUTF8((const char *)span.data, (Py_ssize_t)span.size, "backslashreplace");
    const char *bytes = text ? PyUnicode_AsUTF8AndSize(text, &size) : NULL;
    int done = bytes ? buffer_reserve(values, (size_t)size) : -1;
    if (!done) {
        memcpy(values->data + values->used, bytes, (size_t)size);
        values->used += (size_t)size;
    }
    Py_XDECREF(text);
    return done;
}

/* Append text up to its first NUL, for which there is room, and make room for `left` bytes more. */
int text_append(Buffer *texts, Span span, size_t left)
{
    Py_ssize_t size = copy_ascii(texts->data + texts->used, span.data, span.size);
    if (size < 0)
        return append_decoded(texts, ended_text(span)) < 0 ? -1 : buffer_reserve(texts, left + SLACK);
    texts->used += (size_t)size;
    return 0;
}

/* Append values that vary in size; there is room for them all as long as they are stored as they are. */
static int append_varying(Column *column, const Reading *reading, const Gathered *gathered, int64_t row)
{
    Buffer *values = &column->values;
    size_t left = gathered->size;
    for (int number = 0; number < gathered->count; number++) {
        Span span = place_of(reading, gathered->bodies[number], gathered->sizes[number]);
        left -= gathered->sizes[number];
        if (!span.data) {
            if (column_null(column, row + number) < 0)
                return -1;
        } else if (is_text(reading->kind)) {
            if (text_append(values, span, left) < 0)
                return -1;
        } else {
            memcpy(values->data + values->used, span.data, span.size);
            values->used += span.size;
        }
        int32_t end = (int32_t)values->used;
        memcpy(column->offsets.data + column->offsets.used, &end, sizeof end);
        column->offsets.used += sizeof end;
    }
    return 0;
}

static inline int append_fixed(Column *column, const Reading *reading, const Gathered *gathered, int64_t row,
                               const uint32_t width)
{
    for (int number = 0; number < gathered->count; number++) {
        if (reading->end <= gathered->sizes[number]) {
            memcpy(column->values.data + column->values.used, gathered->bodies[number] + reading->start, width);
            column->values.used += width;
        } else if (column_null(column, row + number) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Append a field of all that is gathered, for which there is room; the first of them is the column's `row`. */
int column_fields(Column *column, const Reading *reading, const Gathered *gathered, int64_t row)
{
    if (column->dictionary)
        return dictionary_append(column, reading, gathered, row);
    switch (column->width) {
    case 0: return append_varying(column, reading, gathered, row);
    case 4: return append_fixed(column, reading, gathered, row, 4);
    case 8: return append_fixed(column, reading, gathered, row, 8);
    default: return append_fixed(column, reading, gathered, row, column->width);
    }
}
