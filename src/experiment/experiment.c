#include <shortrun/experiment.h>
