#include <shortrun/report.h>
