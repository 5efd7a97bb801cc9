// The command line.
#pragma once

#include <string>

namespace sample {

struct Options {
    std::string magicmind_model, image_dir, name_file, label_file;
    std::string result_file, result_label_file, result_top1_file, result_top5_file;
    int device_id = 0;
    int image_num = 0;   // 0: all that the label file lists
    int batch_size = 0;  // 0: what the model was tuned for
    bool help = false;
};

// `--name value` or `--name=value`.  Throws Error for an option that there is not, a value that does not fit, and one
// that is missing.
Options parsed(int count, const char* const* words);

// What --help prints.
std::string usage();

}  // namespace sample
