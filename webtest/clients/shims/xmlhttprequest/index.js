const { XMLHttpRequest } = require('xmlhttprequest-ssl');
module.exports = XMLHttpRequest;
module.exports.XMLHttpRequest = XMLHttpRequest;
