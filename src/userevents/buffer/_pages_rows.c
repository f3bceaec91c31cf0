/* Records as Python rows, or as lines of text: the twin of formats/rows.py. */
#include "_pages.h"

#include <stdio.h>

PyTypeObject *rows_type;

/* What is known of one event id: from its first record on. */
typedef struct {
    PyObject *what, *template; /* `what` is NULL for events that are left out */
    Reading *readings;
    Py_ssize_t count;
} Plan;

typedef struct {
    PyObject_HEAD
    Plan *plans[65536];
    PyObject *plan, *escape;
    Owners owners;
    long long shift;
    int time_first;
} Rows;

static PyObject *rows_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"plan", "who", "escape", "shift", "time_first", NULL};
    PyObject *plan, *who, *escape;
    long long shift = 0;
    int time_first = 0;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOO|Lp", names, &plan, &who, &escape, &shift, &time_first))
        return NULL;
    if (check_shift(shift) < 0)
        return NULL;
    Rows *rows = new_object(type);
    if (!rows)
        return NULL;
    rows->plan = Py_NewRef(plan);
    rows->escape = Py_NewRef(escape);
    rows->shift = shift;
    rows->time_first = time_first;
    if (owners_init(&rows->owners, who) < 0)
        Py_CLEAR(rows);
    return (PyObject *)rows;
}

static int rows_traverse(Rows *rows, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE((PyObject *)rows));
    Py_VISIT(rows->plan);
    Py_VISIT(rows->escape);
    Py_VISIT(rows->owners.callback);
    return 0;
}

static void plan_free(Plan *plan)
{
    Py_XDECREF(plan->what);
    Py_XDECREF(plan->template);
    PyMem_Free(plan->readings);
    PyMem_Free(plan);
}

static void rows_dealloc(Rows *rows)
{
    PyObject_GC_UnTrack(rows);
    for (size_t id = 0; id < 65536; id++)
        if (rows->plans[id])
            plan_free(rows->plans[id]);
    Py_XDECREF(rows->plan);
    Py_XDECREF(rows->escape);
    owners_clear(&rows->owners);
    free_object((PyObject *)rows);
}

static Plan *plan_of(Rows *rows, uint16_t id)
{
    if (rows->plans[id])
        return rows->plans[id];
    PyObject *readings, *what, *template, *answer = PyObject_CallFunction(rows->plan, "i", (int)id);
    Plan *plan = answer ? PyMem_Calloc(1, sizeof *plan) : NULL;
    if (!plan) {
        Py_XDECREF(answer);
        return answer ? (Plan *)PyErr_NoMemory() : NULL;
    }
    if (answer != Py_None) {
        if (!is_tuple(answer) || !PyArg_ParseTuple(answer, "OUO", &what, &template, &readings) ||
            !(plan->readings = read_plan(readings, &plan->count))) {
            Py_DECREF(answer);
            plan_free(plan);
            return NULL;
        }
        plan->what = Py_NewRef(what);
        plan->template = Py_NewRef(template);
    }
    Py_DECREF(answer);
    if (rows->plans[id]) { /* the callback may have asked, too */
        plan_free(plan);
        return rows->plans[id];
    }
    return rows->plans[id] = plan;
}

/* Values as Python has them. */
static PyObject *value_of(const Reading *reading, Span span)
{
    if (!span.data)
        Py_RETURN_NONE;
    if (reading->kind == INTEGER) {
        int64_t number = signed_of(reading, span.data);
        return reading->is_signed ? PyLong_FromLongLong(number) : PyLong_FromUnsignedLongLong((uint64_t)number);
    }
    if (reading->kind == FLOAT) {
        double number;
        memcpy(&number, span.data, 8);
        return PyFloat_FromDouble(number);
    }
    if (is_text(reading->kind))
        return PyUnicode_DecodeUTF8((const char *)span.data, (Py_ssize_t)span.size, "backslashreplace");
    return PyBytes_FromStringAndSize((const char *)span.data, (Py_ssize_t)span.size);
}

/* Values as people read them. */

static PyObject *decimal_of(int64_t number, int is_signed)
{
    char digits[24], *at = digits + sizeof digits;
    int is_negative = is_signed && number < 0;
    uint64_t rest = is_negative ? -(uint64_t)number : (uint64_t)number;
    do
        *--at = (char)('0' + rest % 10);
    while (rest /= 10);
    if (is_negative)
        *--at = '-';
    return PyUnicode_FromStringAndSize(at, digits + sizeof digits - at);
}

static PyObject *hex_of(Span span)
{
    char few[256], *digits = span.size * 2 > sizeof few ? PyMem_Malloc(span.size * 2) : few;
    if (!digits)
        return PyErr_NoMemory();
    for (size_t at = 0; at < span.size; at++) {
        digits[2 * at] = "0123456789abcdef"[span.data[at] >> 4];
        digits[2 * at + 1] = "0123456789abcdef"[span.data[at] & 15];
    }
    PyObject *text = PyUnicode_FromStringAndSize(digits, (Py_ssize_t)span.size * 2);
    if (digits != few)
        PyMem_Free(digits);
    return text;
}

static int is_printable(Span span)
{
    int good = 1;
    for (size_t at = 0; at < span.size; at++)
        good &= (span.data[at] >= 0x20) & (span.data[at] < 0x7F) & (span.data[at] != '\\');
    return good;
}

static PyObject *shown_value(const Rows *rows, const Reading *reading, Span span)
{
    if (!span.data)
        return PyUnicode_FromStringAndSize("?", 1);
    if (reading->kind == INTEGER)
        return decimal_of(signed_of(reading, span.data), reading->is_signed);
    if (reading->kind != FLOAT && !is_text(reading->kind))
        return hex_of(span);
    if (is_text(reading->kind) && is_printable(span))
        return PyUnicode_FromStringAndSize((const char *)span.data, (Py_ssize_t)span.size);
    PyObject *value = value_of(reading, span), *shown = NULL;
    if (value)
        shown = reading->kind == FLOAT ? PyObject_Str(value) : PyObject_CallFunctionObjArgs(rows->escape, value, NULL);
    Py_XDECREF(value);
    return shown;
}

/* Seconds to the nearest microsecond, half up, as formats/text.py shows them. */
static PyObject *shown_time(int64_t time)
{
    char text[40];
    uint64_t nanos = time < 0 ? -(uint64_t)time : (uint64_t)time, micros = (nanos + 500) / 1000;
    int size = snprintf(text, sizeof text, "%s%llu.%06u", time < 0 ? "-" : "", (unsigned long long)(micros / 1000000),
                        (unsigned)(micros % 1000000));
    return PyUnicode_FromStringAndSize(text, size);
}

/* A record as it is turned into a row. */
typedef struct {
    const Run *run;
    const Plan *plan;
    PyObject *who; /* borrowed from the caller */
    const unsigned char *body;
    size_t size;
    int64_t time;
    int32_t tid;
} Record;

static PyObject *make_row(Rows *rows, const Record *record)
{
    PyObject *values = PyTuple_New(record->plan->count);
    (void)rows;
    for (Py_ssize_t number = 0; values && number < record->plan->count; number++) {
        const Reading *reading = &record->plan->readings[number];
        PyObject *value = value_of(reading, span_of(reading, record->body, record->size));
        if (!value || PyTuple_SetItem(values, number, value) < 0)
            Py_CLEAR(values);
    }
    return values ? Py_BuildValue("LIiOON", (long long)record->time, (unsigned int)record->run->cpu, record->tid,
                                  record->who, record->plan->what, values)
                  : NULL;
}

static PyObject *make_line(Rows *rows, const Record *record)
{
    PyObject *line = NULL, *time = shown_time(record->time), *values = time ? PyTuple_New(record->plan->count + 2) : NULL;
    if (!values) {
        Py_XDECREF(time);
        return NULL;
    }
    PyTuple_SetItem(values, !rows->time_first, time);
    PyTuple_SetItem(values, rows->time_first, Py_NewRef(record->who));
    for (Py_ssize_t number = 0; number < record->plan->count; number++) {
        const Reading *reading = &record->plan->readings[number];
        PyObject *value = shown_value(rows, reading, span_of(reading, record->body, record->size));
        if (!value || PyTuple_SetItem(values, number + 2, value) < 0)
            goto done;
    }
    line = PyUnicode_Format(record->plan->template, values);
done:
    Py_DECREF(values);
    return line;
}

/* Append what `make` makes of one record, if it is asked for. */
static int add_row(Rows *rows, PyObject *list, const Run *run, uint32_t number,
                   PyObject *(*make)(Rows *, const Record *))
{
    uint32_t start = run->starts[number], at = body_start(run, start);
    Record record = {.run = run, .body = run->bytes + at, .size = record_end(run, start) - at};
    record.plan = plan_of(rows, load_u16(record.body));
    if (!record.plan)
        return -1;
    if (!record.plan->what)
        return 0;
    record.time = (int64_t)run->times[number] + rows->shift;
    record.tid = (int32_t)load_u32(record.body + 4);
    int done = 0, holds;
    record.who = owner_of(&rows->owners, run, record.tid, record.time, &holds);
    if (!record.who)
        return -1;
    if (record.who != Py_None) {
        PyObject *row = make(rows, &record);
        done = row ? PyList_Append(list, row) : -1;
        Py_XDECREF(row);
    }
    Py_DECREF(record.who);
    return done;
}

static PyObject *make_all(Rows *rows, PyObject *argument, PyObject *(*make)(Rows *, const Record *))
{
    if (Py_TYPE(argument) != batch_type) {
        PyErr_SetString(PyExc_TypeError, "rows are made of batches");
        return NULL;
    }
    Batch *batch = (Batch *)argument;
    PyObject *list = PyList_New(0);
    for (Py_ssize_t part = 0; list && part < batch->used; part++)
        for (uint32_t number = batch->segments[part].first; list && number < batch->segments[part].stop; number++)
            if (add_row(rows, list, batch->segments[part].run, number, make) < 0)
                Py_CLEAR(list);
    return list;
}

static PyObject *rows_records(Rows *rows, PyObject *batch) { return make_all(rows, batch, make_row); }

static PyObject *rows_lines(Rows *rows, PyObject *batch) { return make_all(rows, batch, make_line); }

GUARDED(rows_records)
GUARDED(rows_lines)

static PyMethodDef rows_methods[] = {
    {"records", (PyCFunction)rows_records_guarded, METH_O, "Return [(time, cpu, tid, who, event, values)] of a batch."},
    {"lines", (PyCFunction)rows_lines_guarded, METH_O, "Return a line of text for each record of a batch."},
    {NULL},
};

static PyType_Slot rows_slots[] = {
    {Py_tp_doc, "Decodes batches into rows: the native form of rows.Rows."},
    {Py_tp_new, rows_new},
    {Py_tp_dealloc, rows_dealloc},
    {Py_tp_traverse, rows_traverse},
    {Py_tp_methods, rows_methods},
    {0, NULL},
};

PyType_Spec rows_spec = {"userevents.buffer._pages.Rows", sizeof(Rows), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
                         rows_slots};
