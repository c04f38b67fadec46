CREATE TABLE `größe_λ 2` (id INT PRIMARY KEY, `über α` VARCHAR(10), `2nd-х` INT);
INSERT INTO `größe_λ 2` VALUES (1, 'a', 1);
CREATE TABLE zz_end (id INT PRIMARY KEY);
