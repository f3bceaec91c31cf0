/* Text columns by dictionary: a row holds the number of its text, and a text that comes again is stored once.
 *
 * DuckDB then groups and compares numbers. Where texts hardly come again nothing is looked up, and each is stored.
 */
#include "_pages_arrow.h"

#define SLOTS_FIRST 1024
#define TRIED 2048 /* so many texts are looked up; if half of them were new, no more are */
#define ONES UINT64_C(0x0101010101010101)
#define HIGH_BITS UINT64_C(0x8080808080808080)
#define FACTOR UINT64_C(0x9E3779B97F4A7C15)

/* An empty dictionary, or NULL. */
Dictionary *dictionary_new(void)
{
    Dictionary *dictionary = calloc(1, sizeof *dictionary);
    uint32_t *slots = calloc(SLOTS_FIRST, sizeof *slots), *offsets = calloc(SLOTS_FIRST, sizeof *offsets);
    if (!dictionary || !slots || !offsets) {
        free(dictionary);
        free(slots);
        free(offsets);
        return NULL;
    }
    dictionary->format = "u";
    dictionary->slots = slots;
    dictionary->slots_size = SLOTS_FIRST;
    dictionary->offsets = (Buffer){(unsigned char *)offsets, sizeof *offsets, SLOTS_FIRST * sizeof *offsets, NULL};
    return dictionary;
}

void dictionary_free(Dictionary *dictionary)
{
    if (!dictionary)
        return;
    buffer_free(&dictionary->offsets);
    buffer_free(&dictionary->texts);
    buffer_free(&dictionary->hashes);
    free(dictionary->slots);
    free(dictionary);
}

/* Make room for as many texts as are gathered. */
int dictionary_reserve(Dictionary *dictionary, const Gathered *gathered)
{
    size_t most = (size_t)gathered->count * sizeof(uint32_t);
    if (buffer_reserve(&dictionary->offsets, most) < 0 || buffer_reserve(&dictionary->hashes, most) < 0)
        return -1;
    return buffer_reserve(&dictionary->texts, gathered->size + SLACK);
}

/* Cut text at its first NUL; return a hash of what is left. */
static inline uint32_t hash_text(Span *text)
{
    uint64_t hash = 0, word = 0;
    size_t at = 0;
    for (int is_last = 0; at < text->size && !is_last;) {
        size_t left = text->size - at, whole = 8;
        if (left >= 8) {
            word = load_u64(text->data + at);
        } else if (text->size >= 8) { /* the last word overlaps the one before */
            word = load_u64(text->data + text->size - 8) >> (64 - 8 * left);
        } else {
            word = 0;
            for (size_t each = left; each--;)
                word = word << 8 | text->data[each];
        }
        uint64_t nul = (word - ONES) & ~word & HIGH_BITS;
        if (nul) {
            whole = (size_t)__builtin_ctzll(nul) >> 3;
            word = whole ? word << (64 - 8 * whole) : 0;
            is_last = 1;
        }
        hash = (hash ^ word ^ whole) * FACTOR;
        hash ^= hash >> 32; /* a product's high bits know all of its factor, its low ones little */
        at += whole;
    }
    text->size = at < text->size ? at : text->size;
    return (uint32_t)(hash * FACTOR >> 32);
}

static inline Span text_at(const Dictionary *dictionary, uint32_t number)
{
    uint32_t start = load_u32(dictionary->offsets.data + 4 * (size_t)number);
    uint32_t end = load_u32(dictionary->offsets.data + 4 * (size_t)(number + 1));
    return (Span){dictionary->texts.data + start, end - start};
}

/* Whether two texts of one size are the same: their last words may overlap those before. */
static inline int is_same(const unsigned char *one, const unsigned char *other, size_t size)
{
    if (size < 8)
        return !memcmp(one, other, size);
    uint64_t differ = load_u64(one + size - 8) ^ load_u64(other + size - 8);
    for (size_t at = 0; at + 8 < size; at += 8)
        differ |= load_u64(one + at) ^ load_u64(other + at);
    return !differ;
}

/* The slot of a text, which is empty if the dictionary has not got it. */
static inline uint32_t *slot_of(const Dictionary *dictionary, Span text, uint32_t hash)
{
    size_t mask = dictionary->slots_size - 1, at = hash & mask;
    for (; dictionary->slots[at]; at = (at + 1) & mask) {
        uint32_t number = dictionary->slots[at] - 1;
        if (load_u32(dictionary->hashes.data + 4 * (size_t)number) != hash)
            continue;
        Span there = text_at(dictionary, number);
        if (there.size == text.size && is_same(there.data, text.data, text.size))
            break;
    }
    return &dictionary->slots[at];
}

/* Twice as many slots; the texts themselves need not be looked at. */
static int grow(Dictionary *dictionary)
{
    size_t size = 2 * dictionary->slots_size;
    uint32_t *slots = calloc(size, sizeof *slots);
    if (!slots) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t old = 0; old < dictionary->slots_size; old++) {
        if (!dictionary->slots[old])
            continue;
        size_t at = load_u32(dictionary->hashes.data + 4 * (size_t)(dictionary->slots[old] - 1)) & (size - 1);
        while (slots[at])
            at = (at + 1) & (size - 1);
        slots[at] = dictionary->slots[old];
    }
    free(dictionary->slots);
    dictionary->slots = slots;
    dictionary->slots_size = size;
    return 0;
}

/* Put a text in, and into its slot (if not NULL) unless it had to be written otherwise than it came. */
static int put_text(Dictionary *dictionary, Span text, uint32_t hash, uint32_t *slot, size_t left)
{
    Buffer *texts = &dictionary->texts;
    size_t start = texts->used;
    if (text_append(texts, text, left) < 0)
        return -1;
    store_u32(dictionary->offsets.data + dictionary->offsets.used, (uint32_t)texts->used);
    dictionary->offsets.used += sizeof(uint32_t);
    store_u32(dictionary->hashes.data + dictionary->hashes.used, hash);
    dictionary->hashes.used += sizeof(uint32_t);
    dictionary->count++;
    if (!slot || texts->used - start != text.size || memcmp(texts->data + start, text.data, text.size))
        return 0;
    *slot = (uint32_t)dictionary->count;
    return 2 * (size_t)dictionary->count > dictionary->slots_size ? grow(dictionary) : 0;
}

/* Append a text field of all that is gathered, for which there is room; the first of them is the column's `row`. */
int dictionary_append(Column *column, const Reading *reading, const Gathered *gathered, int64_t row)
{
    Dictionary *dictionary = column->dictionary;
    size_t left = gathered->size;
    int is_tried = row < TRIED || dictionary->count < row / 2;
    for (int number = 0; number < gathered->count; number++) {
        Span text = place_of(reading, gathered->bodies[number], gathered->sizes[number]);
        left -= gathered->sizes[number];
        if (!text.data) {
            if (column_null(column, row + number) < 0)
                return -1;
            continue;
        }
        uint32_t hash = is_tried ? hash_text(&text) : 0, *slot = is_tried ? slot_of(dictionary, text, hash) : NULL;
        uint32_t index = slot && *slot ? *slot - 1 : (uint32_t)dictionary->count;
        if ((!slot || !*slot) && put_text(dictionary, text, hash, slot, left) < 0)
            return -1;
        store_u32(column->values.data + column->values.used, index);
        column->values.used += sizeof index;
    }
    return 0;
}
