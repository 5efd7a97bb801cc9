// What the model said, as the four text files that compute_top1_and_top5.py and people read.
#pragma once

#include <fstream>
#include <string>
#include <vector>

#include "pictures.hpp"

namespace sample {

// The indices of the `count` best scores, best first, of equals the lower one.
std::vector<int> best(const float* scores, size_t classes, size_t count);

class Results {
public:
    // Opens the files for writing.  Throws Error for one that cannot be written.
    Results(const std::string& result, const std::string& labels, const std::string& top1, const std::string& top5);

    // A picture's entry in each file.  `names` may be empty: then classes are called `class N`.
    void add(const Picture& picture, const float* scores, size_t classes, const std::vector<std::string>& names);

    // Throws Error where not everything could be written.
    void close();

private:
    std::ofstream result_, labels_, top1_, top5_;
};

}  // namespace sample
