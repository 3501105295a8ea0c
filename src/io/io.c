#include <shortrun/io.h>
