#include <shortrun/quality.h>
