/* Columns handed over through the Arrow C data interface, without a copy: the twin of formats/arrow.py.
 *
 * A table is shared by reference counts that need no GIL, so consumers may release their part in any thread, and
 * after Python is gone.
 */
#include "_pages_arrow.h"

#include <errno.h>

PyTypeObject *chunk_type;

static Table *table_get(Table *table)
{
    __atomic_add_fetch(&table->references, 1, __ATOMIC_RELAXED);
    return table;
}

/* Schemas. Names and formats belong to the table, of which each schema has a reference. */

static void release_schema(struct ArrowSchema *schema)
{
    for (int64_t number = 0; number < schema->n_children; number++) {
        struct ArrowSchema *child = schema->children[number];
        if (child && child->release)
            child->release(child);
        free(child);
    }
    free(schema->children);
    if (schema->dictionary && schema->dictionary->release)
        schema->dictionary->release(schema->dictionary);
    free(schema->dictionary);
    table_put(schema->private_data);
    schema->release = NULL;
}

static void describe(Table *table, struct ArrowSchema *out, const char *name, const char *format)
{
    *out = (struct ArrowSchema){.format = format,
                                .name = name,
                                .flags = ARROW_FLAG_NULLABLE,
                                .release = release_schema,
                                .private_data = table_get(table)};
}

static int export_schema(Table *table, struct ArrowSchema *out)
{
    describe(table, out, "", "+s");
    out->flags = 0;
    out->children = calloc((size_t)table->count, sizeof *out->children);
    if (!out->children)
        goto failed;
    for (; out->n_children < table->count; out->n_children++) {
        const Column *column = &table->columns[out->n_children];
        struct ArrowSchema *child = malloc(sizeof *child);
        if (!child)
            goto failed;
        describe(table, child, column->name, column->format);
        out->children[out->n_children] = child;
        if (!column->dictionary)
            continue;
        child->dictionary = malloc(sizeof *child->dictionary);
        if (!child->dictionary) {
            out->n_children++;
            goto failed;
        }
        describe(table, child->dictionary, "", column->dictionary->format);
    }
    return 0;
failed:
    release_schema(out);
    return ENOMEM;
}

/* Arrays. */

typedef struct {
    Table *table;
    const void *buffers[3];
} Held;

static void release_array(struct ArrowArray *array)
{
    Held *held = array->private_data;
    for (int64_t number = 0; number < array->n_children; number++) {
        struct ArrowArray *child = array->children[number];
        if (child && child->release)
            child->release(child);
        free(child);
    }
    free(array->children);
    if (array->dictionary && array->dictionary->release)
        array->dictionary->release(array->dictionary);
    free(array->dictionary);
    table_put(held->table);
    free(held);
    array->release = NULL;
}

static int hold(Table *table, struct ArrowArray *out)
{
    Held *held = calloc(1, sizeof *held);
    if (!held)
        return ENOMEM;
    held->table = table_get(table);
    *out = (struct ArrowArray){
        .length = table->rows, .n_buffers = 1, .buffers = held->buffers, .release = release_array, .private_data = held};
    return 0;
}

/* The texts of a column; of one that was left out there is one, which is empty. */
static int export_dictionary(Table *table, const Column *column, struct ArrowArray *column_out)
{
    const Dictionary *texts = column->dictionary;
    struct ArrowArray *out = malloc(sizeof *out);
    if (!out || hold(table, out)) {
        free(out);
        return ENOMEM;
    }
    column_out->dictionary = out;
    out->n_buffers = 3;
    out->length = column->is_left_out ? 1 : texts->count;
    out->buffers[1] = column->is_left_out ? table->zeros : texts->offsets.data;
    out->buffers[2] = column->is_left_out ? table->zeros : texts->texts.data;
    return 0;
}

static int export_column(Table *table, const Column *column, struct ArrowArray *out)
{
    if (hold(table, out))
        return ENOMEM;
    if (column->dictionary && export_dictionary(table, column, out)) {
        release_array(out);
        return ENOMEM;
    }
    out->n_buffers = column->width ? 2 : 3;
    if (column->is_left_out) {
        out->null_count = table->rows;
        for (int64_t number = 0; number < out->n_buffers; number++)
            out->buffers[number] = table->zeros;
        return 0;
    }
    out->null_count = column->nulls;
    out->buffers[0] = column->nulls ? column->validity.data : NULL;
    out->buffers[1] = column->width ? column->values.data : column->offsets.data;
    out->buffers[2] = column->values.data;
    return 0;
}

static int export_array(Table *table, struct ArrowArray *out)
{
    if (hold(table, out))
        return ENOMEM;
    out->children = calloc((size_t)table->count, sizeof *out->children);
    if (!out->children)
        goto failed;
    for (; out->n_children < table->count; out->n_children++) {
        struct ArrowArray *child = malloc(sizeof *child);
        if (!child || export_column(table, &table->columns[out->n_children], child)) {
            free(child);
            goto failed;
        }
        out->children[out->n_children] = child;
    }
    return 0;
failed:
    release_array(out);
    return ENOMEM;
}

/* Streams. */

typedef struct {
    Py_ssize_t count, next;
    Table *tables[];
} Chunks;

static int stream_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out)
{
    return export_schema(((Chunks *)stream->private_data)->tables[0], out);
}

static int stream_next(struct ArrowArrayStream *stream, struct ArrowArray *out)
{
    Chunks *chunks = stream->private_data;
    if (chunks->next < chunks->count)
        return export_array(chunks->tables[chunks->next++], out);
    memset(out, 0, sizeof *out);
    return 0;
}

static const char *stream_error(struct ArrowArrayStream *stream)
{
    (void)stream;
    return "out of memory";
}

static void release_stream(struct ArrowArrayStream *stream)
{
    Chunks *chunks = stream->private_data;
    for (Py_ssize_t number = 0; number < chunks->count; number++)
        table_put(chunks->tables[number]);
    free(chunks);
    stream->release = NULL;
}

/* Capsules: whoever does not move the structure out of one leaves it to its destructor. */

#define DESTRUCTOR(NAME, STRUCTURE, LABEL)                                                                             \
    static void NAME(PyObject *capsule)                                                                                \
    {                                                                                                                  \
        struct STRUCTURE *held = PyCapsule_GetPointer(capsule, LABEL);                                                 \
        if (held && held->release)                                                                                     \
            held->release(held);                                                                                       \
        free(held);                                                                                                    \
    }

DESTRUCTOR(destroy_schema, ArrowSchema, "arrow_schema")
DESTRUCTOR(destroy_array, ArrowArray, "arrow_array")
DESTRUCTOR(destroy_stream, ArrowArrayStream, "arrow_array_stream")

static PyObject *schema_capsule(Table *table)
{
    struct ArrowSchema *schema = malloc(sizeof *schema);
    if (!schema || export_schema(table, schema)) {
        free(schema);
        return PyErr_NoMemory();
    }
    PyObject *capsule = PyCapsule_New(schema, "arrow_schema", destroy_schema);
    if (!capsule) {
        release_schema(schema);
        free(schema);
    }
    return capsule;
}

static PyObject *chunk_schema(Chunk *chunk, PyObject *nothing)
{
    (void)nothing;
    return schema_capsule(chunk->table);
}

static PyObject *chunk_array(Chunk *chunk, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"requested_schema", NULL};
    PyObject *requested, *array_capsule = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|O", names, &requested))
        return NULL;
    struct ArrowArray *array = malloc(sizeof *array);
    if (!array || export_array(chunk->table, array)) {
        free(array);
        return PyErr_NoMemory();
    }
    array_capsule = PyCapsule_New(array, "arrow_array", destroy_array);
    if (!array_capsule) {
        release_array(array);
        free(array);
        return NULL;
    }
    PyObject *schema = schema_capsule(chunk->table);
    if (!schema) {
        Py_DECREF(array_capsule);
        return NULL;
    }
    return Py_BuildValue("NN", schema, array_capsule);
}

static PyObject *chunk_stream(PyObject *type, PyObject *list)
{
    (void)type;
    Py_ssize_t count = PyTuple_Check(list) ? PyTuple_Size(list) : 0;
    for (Py_ssize_t number = 0; number < count; number++)
        if (Py_TYPE(PyTuple_GetItem(list, number)) != chunk_type)
            count = 0;
    if (!count)
        return PyErr_Format(PyExc_TypeError, "a stream is made of a tuple of one chunk or more");
    struct ArrowArrayStream *stream = malloc(sizeof *stream);
    Chunks *chunks = malloc(sizeof *chunks + (size_t)count * sizeof *chunks->tables);
    if (!stream || !chunks) {
        free(stream);
        free(chunks);
        return PyErr_NoMemory();
    }
    *chunks = (Chunks){.count = count};
    for (Py_ssize_t number = 0; number < count; number++)
        chunks->tables[number] = table_get(((Chunk *)PyTuple_GetItem(list, number))->table);
    *stream = (struct ArrowArrayStream){stream_schema, stream_next, stream_error, release_stream, chunks};
    PyObject *capsule = PyCapsule_New(stream, "arrow_array_stream", destroy_stream);
    if (!capsule) {
        release_stream(stream);
        free(stream);
    }
    return capsule;
}

PyObject *chunk_of(Table *table)
{
    Chunk *chunk = new_object(chunk_type);
    if (chunk)
        chunk->table = table;
    else
        table_put(table);
    return (PyObject *)chunk;
}

static void chunk_dealloc(Chunk *chunk)
{
    table_put(chunk->table);
    free_object((PyObject *)chunk);
}

static Py_ssize_t chunk_length(PyObject *self) { return (Py_ssize_t)((Chunk *)self)->table->rows; }

static PyMethodDef chunk_methods[] = {
    {"__arrow_c_schema__", (PyCFunction)chunk_schema, METH_NOARGS, "Return the schema as a capsule."},
    {"__arrow_c_array__", (PyCFunction)(void (*)(void))chunk_array, METH_VARARGS | METH_KEYWORDS,
     "Return schema and array as capsules."},
    {"stream", chunk_stream, METH_O | METH_STATIC, "Return a stream of a tuple of chunks as a capsule."},
    {NULL},
};

static PyType_Slot chunk_slots[] = {
    {Py_tp_doc, "Columns of equal length, for any consumer of Arrow."},
    {Py_tp_dealloc, chunk_dealloc},
    {Py_tp_methods, chunk_methods},
    {Py_sq_length, chunk_length},
    {0, NULL},
};

PyType_Spec chunk_spec = {"userevents.buffer._pages.Chunk", sizeof(Chunk), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, chunk_slots};
