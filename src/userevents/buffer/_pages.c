/* The _pages extension: its types, collected. _pages.h says what it is for, and what its files share. */
#include "_pages.h"
#include "../_module.h"

static const struct {
    PyType_Spec *spec;
    PyTypeObject **type;
} TYPES[] = {
    {&run_spec, &run_type},         {&batch_spec, &batch_type}, {&merge_spec, &merge_type},
    {&encoder_spec, &encoder_type}, {&rows_spec, &rows_type},   {&columns_spec, &columns_type},
    {&chunk_spec, &chunk_type},     {&transcoder_spec, &transcoder_type},
    {&page_state_spec, &page_state_type}, {&ring_state_spec, &ring_state_type}, {&appender_spec, &appender_type},
};

static int add_types(PyObject *module)
{
    for (size_t number = 0; number < sizeof TYPES / sizeof *TYPES; number++) {
        PyObject *type = PyType_FromSpec(TYPES[number].spec);
        if (!type)
            return -1;
        *TYPES[number].type = (PyTypeObject *)type; /* kept for good: the process has one copy of this module */
        if (PyModule_AddType(module, (PyTypeObject *)type) < 0)
            return -1;
    }
    return 0;
}

static PyMethodDef module_methods[] = {
    {"runs_in", runs_in, METH_VARARGS, "Walk pages that lie behind each other; None for one that is none."},
    {"appender", appender, METH_VARARGS, "The short way of a thread's records of an event into a ring."},
    {NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT, "userevents.buffer._pages", "Pages, merged and decoded: the native form of this room.",
    -1, module_methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__pages(void)
{
    PyObject *module = module_if_wanted(&module_definition);
    if (module && add_types(module) < 0)
        Py_CLEAR(module);
    return module;
}
